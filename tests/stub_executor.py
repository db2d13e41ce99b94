"""An executor for the test of scale: jobs last a moment and leave empty files."""

import time
from collections.abc import AsyncGenerator
from pathlib import Path

from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
from snakemake_interface_executor_plugins.jobs import JobExecutorInterface
from snakemake_interface_executor_plugins.settings import CommonSettings

common_settings = CommonSettings(
    non_local_exec=True, implies_no_shared_fs=False, job_deploy_sources=False
)
SECONDS_PER_MINUTE_ASKED_FOR = 0.005


class Executor(RemoteExecutor):
    """Waits a moment for every job."""

    def __post_init__(self) -> None:
        self.next_seconds_between_status_checks = 1

    def run_job(self, job: JobExecutorInterface) -> None:
        seconds = SECONDS_PER_MINUTE_ASKED_FOR * job.resources.runtime
        info = SubmittedJobInfo(job, aux={"end": time.monotonic() + seconds})
        self.report_job_submission(info)

    async def check_active_jobs(
        self, active_jobs: list[SubmittedJobInfo]
    ) -> AsyncGenerator[SubmittedJobInfo, None]:
        for info in active_jobs:
            if time.monotonic() < info.aux["end"]:
                yield info
                continue
            for job in info.job.jobs if info.job.is_group() else [info.job]:
                for path in filter(None, [*job.output, job.benchmark]):
                    Path(path).parent.mkdir(parents=True, exist_ok=True)
                    Path(path).mkdir() if path.is_directory else Path(path).touch()
            self.report_job_success(info)

    def cancel_jobs(self, active_jobs: list[SubmittedJobInfo]) -> None:
        pass
