"""A SLURM cluster of two nodes on this machine, for the tests: `python tests/cluster.py COMMAND`.

Everything lies in a scratch folder, with ports, key and sockets of its own; neither root nor
systemd is needed. It has no accounting, so the plugin asks squeue for the state of jobs.
"""

import getpass
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

PATH = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "scancel")
NODES = {"node1": 2, "node2": 1}  # CPUs, whatever the machine has
# of the plugin, for a cluster without accounting whose jobs end within seconds
SETTINGS = ("--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "1")
SLURM_CONF = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
KillWait=2
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=5
GresTypes=gpu
{nodes}
PartitionName=tests Nodes={names} Default=YES MaxTime=INFINITE State=UP
"""


def missing_programs() -> list[str]:
    """Return the programs of SLURM and MUNGE that this machine lacks."""
    return [name for name in PROGRAMS if not shutil.which(name, path=PATH)]


class Cluster:
    """A context in which SLURM runs; commands need its `environment`.

    Raises
    ------
    RuntimeError
        If a daemon ends or the nodes do not come up, with the logs.
    """

    def __enter__(self) -> "Cluster":
        self.stack = ExitStack()
        scratch = tempfile.TemporaryDirectory(prefix="slurm-", ignore_cleanup_errors=True)
        self.folder = Path(self.stack.enter_context(scratch))
        path = os.pathsep.join([str(self.folder), PATH])
        self.environment = os.environ | {"PATH": path, "SLURM_CONF": f"{self.folder}/slurm.conf"}
        try:
            self._configure()
            self._start_munge()
            self._start("slurmctld", "-D")
            for name in NODES:
                self._start("slurmd", "-D", "-N", name)
            self._wait(lambda: self("sinfo", "-h", "-o", "%T").split() == ["idle"], "nodes")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End all jobs, then the daemons."""
        self("scancel", "--state=PENDING", "--quiet", "--user", getpass.getuser())
        self("scancel", "--quiet", "--user", getpass.getuser())
        end = time.monotonic() + 20
        while self.jobs("PENDING,RUNNING,COMPLETING") and time.monotonic() < end:
            time.sleep(0.5)
        self.stack.close()

    def __call__(self, *command: str) -> str:
        """Return what one of SLURM's commands prints, nothing if it fails."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True)
        return done.stdout if done.returncode == 0 else ""

    def jobs(self, states: str = "RUNNING") -> list[tuple[str, str, str]]:
        """Return number, node and comment (which names the rule) of all jobs in these states."""
        lines = self("squeue", "-h", "-o", "%i|%N|%k", "--states", states).splitlines()
        return [tuple(line.split("|", 2)) for line in lines]

    def _configure(self) -> None:
        folder, (port, *ports) = self.folder, _free_ports(1 + len(NODES))
        host = socket.gethostname().split(".")[0]
        nodes = "\n".join(
            f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={own} CPUs={n_cpus} "
            "RealMemory=1000000 Gres=gpu:1 State=UNKNOWN"
            for (name, n_cpus), own in zip(NODES.items(), ports, strict=True)
        )
        (folder / "state").mkdir()
        # inside jobs the plugin takes SLURM_CONF away, for clusters have theirs where srun looks
        srun = folder / "srun"
        real = shutil.which("srun", path=PATH)
        srun.write_text(f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {real} "$@"\n')
        srun.chmod(0o755)
        (folder / "gres.conf").write_text("AutoDetect=off\nName=gpu File=/dev/null\n")
        (folder / "slurm.conf").write_text(
            SLURM_CONF.format(
                host=host, port=port, user=getpass.getuser(), folder=folder, nodes=nodes,
                names=",".join(NODES),
            )
        )  # fmt: skip

    def _start_munge(self) -> None:
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        files = {"key": "key", "socket": "socket", "pid": "pid", "log": "log", "seed": "seed"}
        options = [
            f"--{name}{'' if name == 'socket' else '-file'}={self.folder}/munge.{end}"
            for name, end in files.items()
        ]
        self._start("munged", "--foreground", "--force", "--num-threads=2", *options)
        self._wait((self.folder / "munge.socket").exists, "munge")

    def _start(self, *command: str) -> None:
        """Start a daemon, which ends with this context."""
        with open(self.folder / "daemons.txt", "a") as log:
            daemon = subprocess.Popen(
                command, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )
        self.stack.callback(daemon.wait)
        self.stack.callback(daemon.terminate)

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + 60
        while not condition():
            if time.monotonic() > end:
                logs = [*self.folder.glob("*.log"), self.folder / "daemons.txt"]
                told = "\n".join(f"{path.name}:\n{path.read_text()[-2000:]}" for path in logs)
                raise RuntimeError(f"SLURM: {what} did not come up\n{told}")
            time.sleep(0.2)


def _free_ports(n: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(n)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


if __name__ == "__main__":
    with Cluster() as cluster:
        sys.exit(subprocess.run(sys.argv[1:], env=cluster.environment).returncode)
