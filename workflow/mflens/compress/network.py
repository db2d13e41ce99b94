"""The compressor: a multi-scale HEALPix network from shear maps to a few summaries.

On every scale the pixels of a 4 x 4 block, which nested ordering stores side by side, are mapped to
local Fourier modes. These start as the E and B modes of a flat patch and are trained, as is the
mixing of tomographic bins. Global masked statistics of the modes (power and, if wanted, sparsity
and skewness), all standardised once, go through a small residual network to the summaries.
"""

import numpy as np
import torch
from torch import Tensor, nn

from mflens.errors import ConfigError, DataError
from mflens.ridge import fit_ridge

BLOCK = 16  # pixels of a 4 x 4 block
# Filters are their first value plus this times a trained weight: with a thousand maps, filters that
# move as fast as the other weights overfit.
SLOWNESS = 0.02
# number of modes with |k| = 1, |k| = sqrt(2) and larger, in units of the block's fundamental
GROUPS = (4, 4, 7)
# of maps whose statistics are taken at once
MOST_MAPS, MOST_VALUES = 256, 2**25


class HealpixCompressor(nn.Module):
    """Map noisy shear on a footprint to summaries.

    Parameters
    ----------
    pixel
        Nested indices of the footprint, shape (pixel,); any set without repetition.
    nside
        HEALPix resolution, a power of two, at least 4.
    n_bins
        Number of tomographic bins.
    channels
        Number of learned mixtures of bins and of E and B modes on every scale.
    n_summaries
        Number of outputs.
    hidden_features
        Width of the network from statistics to summaries.
    non_gaussian
        Whether sparsity and skewness join power: worth it with many maps, noise with a thousand.

    Raises
    ------
    ConfigError
        If nside is not a power of two or below 4.
    """

    pixel: Tensor
    position: Tensor
    rotation: Tensor
    weight: Tensor
    first_modes: Tensor
    first_mixing: Tensor
    scale: Tensor
    centre: Tensor
    spread: Tensor

    def __init__(
        self,
        pixel: Tensor,
        *,
        nside: int,
        n_bins: int,
        channels: int,
        n_summaries: int,
        hidden_features: int,
        non_gaussian: bool,
    ) -> None:
        super().__init__()
        if nside < 4 or nside & (nside - 1):
            raise ConfigError(f"nside is {nside}; the compressor needs a power of two from 4 on.")
        self.arguments = {
            "nside": nside,
            "n_bins": n_bins,
            "channels": channels,
            "n_summaries": n_summaries,
            "hidden_features": hidden_features,
            "non_gaussian": non_gaussian,
        }
        self.n_levels = max(1, nside.bit_length() - 3)
        self.n_bins, self.non_gaussian = n_bins, non_gaussian
        position, weight = pad_blocks(pixel.numpy(), 4 ** (self.n_levels + 1))
        self.register_buffer("pixel", pixel.to(torch.int64))
        self.register_buffer("position", torch.as_tensor(position))
        self.register_buffer("weight", torch.as_tensor(weight, dtype=torch.float32))
        rotation = pixel_frame(nside, pixel.numpy())
        self.register_buffer("rotation", torch.as_tensor(rotation, dtype=torch.float32))
        self.register_buffer("scale", torch.ones(n_bins, 2))
        modes = torch.as_tensor(local_modes(), dtype=torch.float32)
        mixing = initial_mixing(n_bins, channels)
        self.register_buffer("first_modes", modes)
        self.register_buffer("first_mixing", mixing)
        self.modes = nn.Parameter(torch.zeros(self.n_levels, *modes.shape))
        self.mixing = nn.Parameter(torch.zeros(self.n_levels, *mixing.shape))
        per_channel = 2 * len(GROUPS) + 1 if non_gaussian else len(GROUPS)
        n_statistics = self.n_levels * channels * per_channel + 2 * n_bins
        self.register_buffer("centre", torch.zeros(n_statistics))
        self.register_buffer("spread", torch.ones(n_statistics))
        self.linear = nn.Linear(n_statistics, n_summaries)
        last = nn.Linear(hidden_features, n_summaries)
        self.network = nn.Sequential(
            nn.Linear(n_statistics, hidden_features),
            nn.SiLU(),
            nn.Linear(hidden_features, hidden_features),
            nn.SiLU(),
            last,
        )
        # the network starts as zero: the first summaries are linear in the statistics
        nn.init.zeros_(last.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map shear `x`, shape (batch, bin, component, pixel), to summaries (batch, summary)."""
        statistics = torch.cat([self.statistics(part) for part in split(x)])
        features = (statistics - self.centre) / self.spread
        return self.linear(features) + self.network(features)

    def statistics(self, x: Tensor) -> Tensor:
        """Return the global statistics of all scales, shape (batch, statistic), as they come.

        Raises
        ------
        DataError
            If the maps do not have this footprint or this number of bins.
        """
        expected = (self.n_bins, 2, len(self.position))
        if tuple(x.shape[1:]) != expected:
            raise DataError(
                f"maps of shape (bin, component, pixel) = {tuple(x.shape[1:])} do not fit the "
                f"compressor, which was made for {expected}; run snakemake again to retrain it."
            )
        z, weight = self.pad(x), self.weight
        found = []
        for level in range(self.n_levels):
            found.append(self.level_statistics(z, weight, level))
            # orthonormal pooling: white noise keeps its variance
            z = 2 * nn.functional.avg_pool1d(z, 4)
            weight = weight.reshape(-1, 4).mean(-1)
        found.append(torch.log((z**2).sum(-1) / weight.sum() + 1e-12))
        return torch.cat(found, dim=-1)

    def pad(self, x: Tensor) -> Tensor:
        """Scale the shear, turn it into the pixels' own frame and pad, (batch, channel, padded)."""
        cosine, sine = self.rotation
        first, second = (x / self.scale[:, :, None]).unbind(2)
        own = torch.stack(
            [cosine * first + sine * second, cosine * second - sine * first], dim=2
        ).flatten(1, 2)
        padded = own.new_zeros(*own.shape[:2], len(self.weight))
        return padded.index_copy(2, self.position, own)

    def level_statistics(self, z: Tensor, weight: Tensor, level: int) -> Tensor:
        """Return the statistics of the mixed modes of one scale, shape (batch, statistic)."""
        filters = self.filters(level)
        blocks = z.unflatten(2, (-1, BLOCK)).transpose(1, 2).flatten(2)
        share = weight.reshape(-1, BLOCK).mean(-1)
        share = share / share.sum()
        # the power of a filter needs the covariance of the pixels of a block only
        covariance = (blocks * share[:, None]).mT @ blocks
        flat = filters.flatten(0, 1)
        power = ((flat @ covariance) * flat).sum(-1).unflatten(1, filters.shape[:2])
        log_power = torch.log(split_mean(power) + 1e-12)
        if not self.non_gaussian:
            return log_power.flatten(1)
        size = (share @ (blocks @ flat.T).abs()).unflatten(1, filters.shape[:2])
        sparsity = torch.log(split_mean(size) + 1e-6) - 0.5 * log_power
        # even modes add up to the convergence at the centre of the block
        peak = blocks @ filters[:, even_modes()].sum(1).T
        skewness = (share @ peak**3) / (share @ peak**2 + 1e-12) ** 1.5
        return torch.cat([log_power.flatten(1), sparsity.flatten(1), skewness], dim=-1)

    def filters(self, level: int) -> Tensor:
        """Return the filters of one scale, shape (channel, mode, bin x component x pixel)."""
        modes = self.first_modes + SLOWNESS * self.modes[level]
        mixing = self.first_mixing + SLOWNESS * self.mixing[level]
        # a B mode is an E mode with the shear turned by 45 degrees
        both = torch.stack([modes, torch.stack([-modes[:, 1], modes[:, 0]], dim=1)])
        return torch.einsum("cbe,emsp->cmbsp", mixing, both).flatten(2)

    @torch.no_grad()
    def calibrate(self, x: Tensor, y: Tensor) -> None:
        """Fit all scalers, once, on training maps, and start from the best linear summaries.

        Parameters
        ----------
        x
            Training maps, shape (n, bin, component, pixel).
        y
            Normalised parameters, shape (n, parameter): the first summaries become their ridge
            regression on the statistics.
        """
        variance = torch.stack([part.square().mean((0, 3)) for part in split(x)]).mean(0)
        self.scale.copy_(variance.sqrt())
        statistics = torch.cat([self.statistics(part) for part in split(x)])
        self.centre.copy_(statistics.mean(0))
        self.spread.copy_(statistics.std(0) + 1e-6)
        features = (statistics - self.centre) / self.spread
        ridge = fit_ridge(features, y, shared=True)
        d = min(y.shape[1], self.linear.out_features)
        self.linear.weight[:d] = ridge.weight.T[:d].float()
        self.linear.bias[:d] = ridge.offset[0, :d].float()


def split(x: Tensor) -> tuple[Tensor, ...]:
    """Cut maps, (n, bin, component, pixel), along n into parts that need little memory."""
    return x.split(max(1, min(MOST_MAPS, MOST_VALUES // x.shape[1:].numel())))


def pad_blocks(pixel: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Complete a footprint to whole blocks of nested pixels.

    Parameters
    ----------
    pixel
        Nested indices, shape (pixel,).
    size
        Number of pixels of a block.

    Returns
    -------
    position
        Index of every pixel in the padded array, shape (pixel,).
    weight
        One where the padded array holds a pixel of the footprint, else zero.
    """
    blocks, block = np.unique(pixel // size, return_inverse=True)
    position = block * size + pixel % size
    weight = np.zeros(len(blocks) * size)
    weight[position] = 1
    return position.astype(np.int64), weight


def pixel_frame(nside: int, pixel: np.ndarray) -> np.ndarray:
    """Return cos and sin of twice the angle from South to the pixels' x axis, shape (2, pixel).

    Shear components refer to South and East (HEALPix); the pixels' own axes turn against these,
    by 45 degrees at the equator and by more towards the poles.
    """
    import healpy as hp

    corners = np.array([hp.boundaries(nside, p, step=1, nest=True) for p in pixel])
    north, south = corners[:, :, 0], corners[:, :, 2]
    theta, phi = hp.pix2ang(nside, pixel, nest=True)
    to_south = [np.cos(theta) * np.cos(phi), np.cos(theta) * np.sin(phi), -np.sin(theta)]
    to_east = [-np.sin(phi), np.cos(phi), np.zeros_like(phi)]
    diagonal = (north - south).T
    angle = np.arctan2((diagonal * to_east).sum(0), (diagonal * to_south).sum(0))
    # the diagonal from corner to corner lies between x and y axis
    turn = 2 * (angle - np.pi / 4)
    return np.stack([np.cos(turn), np.sin(turn)])


def local_modes() -> np.ndarray:
    """Return the E modes of a 4 x 4 block of nested pixels, shape (mode, component, pixel).

    Ordered by wave number as in `GROUPS`; unit norm.
    """
    index = np.arange(BLOCK)
    x = (index & 1) + 2 * (index >> 2 & 1) - 1.5
    y = (index >> 1 & 1) + 2 * (index >> 3 & 1) - 1.5
    waves = [(1, 0), (0, 1), (1, 1), (1, -1), (2, 0), (0, 2), (2, 1), (1, 2), (2, 2)]
    modes = []
    for k_x, k_y in waves:
        # the direction of waves at the Nyquist frequency is known but for a reflection
        turn = 2 * np.arctan2(k_y, k_x) if abs(k_x) == abs(k_y) else (k_y > k_x) * np.pi
        phase = np.pi / 2 * (k_x * x + k_y * y)
        for wave in (np.cos(phase), np.sin(phase)):
            if np.linalg.norm(wave) > 1e-6:
                mode = np.stack([np.cos(turn) * wave, np.sin(turn) * wave])
                modes.append(mode / np.linalg.norm(mode))
    return np.array(modes)


def even_modes() -> list[int]:
    """Return the indices of the modes that are even about the centre of the block."""
    modes = local_modes().sum(1)
    return [i for i, mode in enumerate(modes) if np.allclose(mode, mode[::-1])]


def initial_mixing(n_bins: int, channels: int) -> Tensor:
    """Return the first mixing, shape (channel, bin, E or B).

    E modes of every bin, then of sums over neighbouring bins, then B modes, then random mixtures.
    """
    rows = []
    for kind in range(2):
        eye = torch.eye(n_bins)
        for row in [*eye, *((eye[:-1] + eye[1:]) / 2**0.5)]:
            rows.append(torch.zeros(n_bins, 2))
            rows[-1][:, kind] = row
    mixing = torch.randn(channels, n_bins, 2) / (2 * n_bins) ** 0.5
    for i, row in enumerate(rows[:channels]):
        mixing[i] = row
    return mixing


def split_mean(x: Tensor) -> Tensor:
    """Average modes, shape (batch, channel, mode), over every group of wave numbers."""
    return torch.stack([part.mean(-1) for part in x.split(GROUPS, dim=-1)], dim=-1)
