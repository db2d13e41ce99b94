"""The metrics of the published tasks: what each is called, and what it needs."""

from dataclasses import dataclass

TABLE_LEVELS = (50, 68, 90, 95)  # per cent
BOTH = ("NPE", "NLE")


@dataclass(frozen=True)
class Metric:
    """One metric; lower is better, but for the coverage.

    Attributes
    ----------
    label
        Its name in print, with its unit.
    array
        The array of scores that it is computed from.
    estimators
        For which of NPE and NLE it exists.
    reference
        Whether it compares with the exact answer.
    linear_to
        Up to which value its axis is linear; beyond, it is logarithmic.
    """

    label: str
    array: str
    estimators: tuple[str, ...] = BOTH
    reference: bool = False
    linear_to: float = 2.0


METRICS = {
    "forward_kl": Metric("forward KL (nats)", "forward_kl", ("NLE",), True, 0.05),
    "forward_kl_window": Metric(
        "forward KL on a window (nats)", "forward_kl_window", ("NLE",), True, 0.05
    ),
    "mmd_squared": Metric(r"MMD$^2$", "mmd_squared", ("NLE",), True, 0.01),
    "c2st": Metric("C2ST accuracy", "c2st", BOTH, True),
    "nll": Metric(r"$-\log\,q(x\,|\,\theta)$ (nats)", "nll", ("NLE",), False, 5.0),
    "nlpd": Metric("NLPD (nats)", "nlpd"),
    "nlpd_minus_prior": Metric("NLPD $-$ prior (nats)", "nlpd_minus_prior"),
    "rmse": Metric("RMSE (prior sd)", "squared_error"),
    "coverage": Metric("HPD coverage", "hpd_level"),
}
