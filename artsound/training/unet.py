"""AudioLDM 2's UNet (Liu et al. 2024) for networks trained from nothing.

Weights, their names and order, and results equal those of diffusers' AudioLDM2UNet2DConditionModel
of the same shape, so that checkpoints of either fit the other. Importing diffusers takes longer
than generation with a small network; published modules are opened by diffusers itself.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from artsound.training.config import Network

_PERIOD = 10_000  # the longest of the sinusoids that encode a training step


class UNet(nn.Module):
    """From noisy latents [B, C, T, F] to a prediction of the same shape.

    Each level has residual blocks; where it attends, each is followed by three transformers: over
    the latent itself, over the first stream of states and over the second.

    Args:
        network: Levels, layers, heads and groups of normalisation.
        channels: Of a latent.
        widths: Of a state of the first and of the second stream.
    """

    def __init__(self, network: Network, channels: int, widths: tuple[int, int]) -> None:
        super().__init__()
        blocks, attends = network.blocks, network.attention
        first, deepest, last = blocks[0], blocks[-1], len(blocks) - 1
        time = 4 * first
        shape = (network, time, widths)
        self.conv_in = nn.Conv2d(channels, first, 3, padding=1)
        self.time_embedding = _TimeEmbedding(first, time)
        # Modules are registered in the order of diffusers' parameters and drawn in that of its
        # initial weights: mid_block before the up_blocks.
        self.down_blocks, self.up_blocks = nn.ModuleList(), nn.ModuleList()
        for level, width in enumerate(blocks):
            inputs = [blocks[max(level - 1, 0)], *[width] * (network.layers - 1)]
            self.down_blocks.append(
                _Level(inputs, width, attends[level], *shape, half=level < last)
            )
        self.mid_block = _Middle(deepest, *shape)
        for level in reversed(range(len(blocks))):
            width, below = blocks[level], blocks[min(level + 1, last)]
            skips = [*[width] * network.layers, blocks[max(level - 1, 0)]]
            inputs = [a + b for a, b in zip([below, *[width] * network.layers], skips, strict=True)]
            self.up_blocks.append(_Level(inputs, width, attends[level], *shape, double=level > 0))
        self.conv_norm_out = nn.GroupNorm(network.groups, first, eps=1e-5)
        self.conv_out = nn.Conv2d(first, channels, 3, padding=1)

    def forward(
        self,
        noisy: torch.Tensor,
        timestep: torch.Tensor,
        first: torch.Tensor,
        second: torch.Tensor,
    ) -> torch.Tensor:
        """The prediction at `timestep` [B], from two streams of states [B, N, width]."""
        time, streams = self.time_embedding(timestep, noisy.dtype), (None, first, second)
        latent = self.conv_in(noisy)
        skips = [latent]
        for level in self.down_blocks:
            for layer in range(len(level.resnets)):
                latent = level.layer(layer, latent, time, streams)
                skips.append(latent)
            if level.downsamplers is not None:
                latent = level.downsamplers[0](latent)
                skips.append(latent)
        latent = self.mid_block(latent, time, streams)
        for level in self.up_blocks:
            for layer in range(len(level.resnets)):
                latent = torch.cat([latent, skips.pop()], dim=1)
                latent = level.layer(layer, latent, time, streams)
            if level.upsamplers is not None:
                latent = level.upsamplers[0](latent, skips[-1].shape[2:])
        return self.conv_out(functional.silu(self.conv_norm_out(latent)))


_Shape = tuple[Network, int, tuple[int, int]]  # settings, width of the time's embedding, streams
_Streams = tuple[torch.Tensor | None, torch.Tensor, torch.Tensor]


class _TimeEmbedding(nn.Module):
    """Sinusoids of a training step (Vaswani et al. 2017), through two layers."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.inputs = inputs
        self.linear_1 = nn.Linear(inputs, width)
        self.linear_2 = nn.Linear(width, width)

    def forward(self, timestep: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        half = self.inputs // 2
        steps = torch.arange(half, dtype=torch.float32, device=timestep.device)
        angles = timestep[:, None].float() * torch.exp(-math.log(_PERIOD) * steps / half)[None]
        waves = torch.cat([torch.cos(angles), torch.sin(angles)], dim=-1)
        waves = functional.pad(waves, (0, self.inputs % 2)).to(dtype)
        return self.linear_2(functional.silu(self.linear_1(waves)))


class _Residual(nn.Module):
    def __init__(self, inputs: int, outputs: int, groups: int, time: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, inputs, eps=1e-5)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.time_emb_proj = nn.Linear(time, outputs)
        self.norm2 = nn.GroupNorm(groups, outputs, eps=1e-5)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else None

    def forward(self, latent: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        inner = self.conv1(functional.silu(self.norm1(latent)))
        inner = inner + self.time_emb_proj(functional.silu(time))[:, :, None, None]
        inner = self.conv2(functional.silu(self.norm2(inner)))
        if self.conv_shortcut is not None:
            # Gradients of several processes are summed in place only if their strides fit.
            latent = self.conv_shortcut(latent.contiguous() if self.training else latent)
        return latent + inner


class _Attention(nn.Module):
    def __init__(self, width: int, states: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k = nn.Linear(states, width, bias=False)
        self.to_v = nn.Linear(states, width, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(width, width)])

    def forward(self, queries: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        q, k, v = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (self.to_q(queries), self.to_k(states), self.to_v(states))
        )
        read = functional.scaled_dot_product_attention(q, k, v)
        return self.to_out[0](read.transpose(1, 2).flatten(2).to(q.dtype))


class _Gated(nn.Module):
    """GEGLU (Shazeer 2020)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width, 2 * hidden)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        kept, gate = self.proj(values).chunk(2, dim=-1)
        return kept * functional.gelu(gate)


class _FeedForward(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = 4 * width
        # The layer without weights is diffusers' dropout, which the names of weights count.
        self.net = nn.ModuleList([_Gated(width, hidden), nn.Identity(), nn.Linear(hidden, width)])

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.net[2](self.net[0](values))


class _TransformerBlock(nn.Module):
    """Attention to the latent itself, then to a stream of states (None: to itself again)."""

    def __init__(self, width: int, states: int | None, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-5)
        self.attn1 = _Attention(width, width, heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-5)
        self.attn2 = _Attention(width, states or width, heads)
        self.norm3 = nn.LayerNorm(width, eps=1e-5)
        self.ff = _FeedForward(width)

    def forward(self, values: torch.Tensor, states: torch.Tensor | None) -> torch.Tensor:
        own = self.norm1(values)
        values = self.attn1(own, own) + values
        own = self.norm2(values)
        values = self.attn2(own, own if states is None else states) + values
        return self.ff(self.norm3(values)) + values


class _Transformer(nn.Module):
    def __init__(self, width: int, states: int | None, network: Network) -> None:
        super().__init__()
        heads = network.heads
        inner = width // heads * heads
        self.norm = nn.GroupNorm(network.groups, width, eps=1e-6)
        self.proj_in = nn.Conv2d(width, inner, 1)
        self.transformer_blocks = nn.ModuleList([_TransformerBlock(inner, states, heads)])
        self.proj_out = nn.Conv2d(inner, width, 1)

    def forward(self, latent: torch.Tensor, states: torch.Tensor | None) -> torch.Tensor:
        inner = self.proj_in(self.norm(latent))
        batch, width, height, bands = inner.shape
        values = inner.permute(0, 2, 3, 1).reshape(batch, height * bands, width)
        values = self.transformer_blocks[0](values, states)
        inner = values.reshape(batch, height, bands, width).permute(0, 3, 1, 2).contiguous()
        return self.proj_out(inner) + latent


class _Downsample(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, stride=2, padding=1)

    def forward(self, latent: torch.Tensor) -> torch.Tensor:
        return self.conv(latent)


class _Upsample(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, latent: torch.Tensor, size: torch.Size) -> torch.Tensor:
        return self.conv(functional.interpolate(latent, size=size, mode="nearest"))


class _Level(nn.Module):
    """A level of the network, on its way down (`half` the size after it) or up (`double`)."""

    def __init__(
        self,
        inputs: list[int],
        width: int,
        attends: bool,
        network: Network,
        time: int,
        widths: tuple[int, int],
        *,
        half: bool = False,
        double: bool = False,
    ) -> None:
        super().__init__()
        resnets, attentions = nn.ModuleList(), nn.ModuleList()
        for each in inputs:
            resnets.append(_Residual(each, width, network.groups, time))
            if attends:
                attentions.extend(_transformers(width, widths, network))
        if attends:
            self.attentions = attentions
        self.attends, self.resnets = attends, resnets
        self.downsamplers = nn.ModuleList([_Downsample(width)]) if half else None
        self.upsamplers = nn.ModuleList([_Upsample(width)]) if double else None

    def layer(
        self, index: int, latent: torch.Tensor, time: torch.Tensor, streams: _Streams
    ) -> torch.Tensor:
        latent = self.resnets[index](latent, time)
        if not self.attends:
            return latent
        return _attend(self.attentions[3 * index : 3 * index + 3], latent, streams)


class _Middle(nn.Module):
    def __init__(self, width: int, network: Network, time: int, widths: tuple[int, int]) -> None:
        super().__init__()
        before = _Residual(width, width, network.groups, time)
        self.attentions = nn.ModuleList(_transformers(width, widths, network))
        after = _Residual(width, width, network.groups, time)
        self.resnets = nn.ModuleList([before, after])

    def forward(self, latent: torch.Tensor, time: torch.Tensor, streams: _Streams) -> torch.Tensor:
        latent = _attend(self.attentions, self.resnets[0](latent, time), streams)
        return self.resnets[1](latent, time)


def _transformers(width: int, widths: tuple[int, int], network: Network) -> list[_Transformer]:
    return [_Transformer(width, states, network) for states in (None, *widths)]


def _attend(attentions: nn.ModuleList, latent: torch.Tensor, streams: _Streams) -> torch.Tensor:
    for attention, states in zip(attentions, streams, strict=True):
        latent = attention(latent, states)
    return latent
