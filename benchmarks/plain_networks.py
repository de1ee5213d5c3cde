"""The paper's networks and their training steps written down plainly, to measure astseg's against.

A transcription of the paper's equations and tables as a reader would make it: modules in their default order of memory,
float32, pooling by an expanded product, torch's default optimizers. SegFormer is the one of the transformers library.
Parameters are defined in the order of astseg's, so that `copy_parameters` makes both networks equal. Only what the
benchmark needs is here: squares of 64 or 128 pixels, and anisotropic scaling.
"""

import itertools
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Pair = tuple[int, int]


def copy_parameters(source: nn.Module, target: nn.Module) -> None:
    """Give a network the parameters of another, in the order of their definition."""
    with torch.no_grad():
        for theirs, own in zip(source.parameters(), target.parameters(), strict=True):
            own.copy_(theirs)


class PlainSegformer(nn.Module):
    """SegFormer B3: logits with a quarter of the image's sides."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        from transformers import SegformerConfig, SegformerForSemanticSegmentation

        config = SegformerConfig(
            hidden_sizes=[64, 128, 320, 512],
            depths=[3, 4, 18, 3],
            decoder_hidden_size=768,
            num_labels=channels,  # type: ignore[call-arg]
        )
        self.network = SegformerForSemanticSegmentation(config)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits."""
        logits: Tensor = self.network(pixel_values=images).logits
        return logits


def unet_block(convolution: nn.Module, channels: int) -> nn.Sequential:
    """Return a convolution with batch normalization and CELU."""
    return nn.Sequential(convolution, nn.BatchNorm2d(channels), nn.CELU())


class PlainUnet(nn.Module):
    """The U-net of Table 8 for images below 200 pixels."""

    levels = (80, 128, 192, 256, 256, 256)

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = unet_block(nn.Conv2d(3, self.levels[0], 3, padding=1, bias=False), self.levels[0])
        self.down = nn.ModuleList()
        for inputs, outputs in itertools.pairwise(self.levels):
            shrink = unet_block(nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False), outputs)
            residual = unet_block(nn.Conv2d(outputs, outputs, 3, padding=1, bias=False), outputs)
            self.down.append(nn.ModuleList([shrink, residual]))
        deepest = self.levels[-1]
        self.center = unet_block(nn.Conv2d(deepest, deepest, 3, padding=1, bias=False), deepest)
        self.up = nn.ModuleList()
        for outputs, inputs in reversed(list(itertools.pairwise(self.levels))):
            residual = unet_block(nn.Conv2d(2 * inputs, 2 * inputs, 3, padding=1, bias=False), 2 * inputs)
            grow = unet_block(nn.ConvTranspose2d(2 * inputs, outputs, 4, 2, 1, bias=False), outputs)
            self.up.append(nn.ModuleList([residual, grow]))
        joined = 2 * self.levels[0]
        self.join = unet_block(nn.Conv2d(joined, channels, 3, padding=1, bias=False), channels)
        self.residual = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.last = nn.Conv2d(channels, channels, 1, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return maps of the size of the images."""
        skips = [self.first(images)]
        block: Any  # two layers
        for block in self.down:
            x = block[0](skips[-1])
            skips.append(x + block[1](x))
        x = self.center(skips[-1])
        for block in self.up:
            x = torch.cat((x, skips.pop()), 1)
            x = block[1](x + block[0](x))
        x = self.join(torch.cat((x, skips.pop()), 1))
        return self.last(x + self.residual(x))  # type: ignore[no-any-return]


class PlainBackground(nn.Module):
    """AE-NE with the wide channels."""

    channels: ClassVar = {
        64: ((3, 64, 160, 320, 160, 16, 16), (4, 144, 640, 1280, 640, 16, 16)),
        128: ((3, 64, 320, 640, 640, 320, 16, 16), (4, 144, 640, 1280, 640, 320, 16, 16)),
    }

    def __init__(self, side: int) -> None:
        super().__init__()
        encoder, decoder = self.channels[side]
        sides = [side // 2**level for level in range(len(encoder) - 1)]
        # Kernel, stride and padding: 5, 2, 2, but 4, 2, 1 from 4 to 2 and 2, 1, 0 from 2 to 1.
        geometries = [(5, 2, 2) if size > 5 else (4, 2, 1) if size > 2 else (2, 1, 0) for size in sides]
        self.encoder = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(inputs + 2, outputs, *geometry, bias=False),
                nn.GroupNorm(max(1, outputs // 16), outputs),
                nn.CELU(),
            )
            for geometry, (inputs, outputs) in zip(geometries, itertools.pairwise(encoder), strict=True)
        )
        self.decoder = nn.ModuleList()
        for geometry, (outputs, inputs) in reversed(list(zip(geometries, itertools.pairwise(decoder), strict=True))):
            kernel, stride, padding = geometry
            grow = nn.ConvTranspose2d(inputs + 2, outputs, kernel, stride, padding, int(kernel == 5), bias=False)
            rest = [nn.Sigmoid()] if outputs == 4 else [nn.GroupNorm(max(1, outputs // 16), outputs), nn.CELU()]
            self.decoder.append(nn.Sequential(grow, *rest))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return backgrounds and predicted errors."""
        x = 255 * images
        for block in (*self.encoder, *self.decoder):
            x = block(with_positions(x))
        return x[:, :3], x[:, 3]


def with_positions(x: Tensor) -> Tensor:
    """Append two channels with the positions of the cells, from -0.5 to 0.5."""
    batch, _, height, width = x.shape
    down = torch.arange(height) / (height - 1) - 0.5 if height > 1 else torch.ones(1)
    across = torch.arange(width) / (width - 1) - 0.5 if width > 1 else torch.ones(1)
    rows = down[:, None].expand(batch, 1, height, width)
    columns = across.expand(batch, 1, height, width)
    return torch.cat((x, rows, columns), 1)


class PlainObjects(nn.Module):
    """All of the network but the background: Algorithms 1 and 2."""

    def __init__(self, side: int, slots: int, maps: str) -> None:
        super().__init__()
        self.slots = slots
        self.background_log_activation = nn.Parameter(torch.tensor(11.0))
        columns = 2 + 1 + 32
        self.maps = PlainUnet(slots + columns) if maps == "unet" else PlainSegformer(slots + columns)
        self.refinement = PlainRefinement(2 + columns)
        self.glimpses = plain_glimpses((32, 64, 32, 16, 8, 4) if side <= 64 else (32, 128, 64, 32, 16, 8, 4))

    def forward(self, images: Tensor, backgrounds: Tensor) -> tuple[Tensor, Tensor]:
        """Return the reconstruction and the weight of each layer."""
        maps = self.maps(images)
        attention, features = maps[:, : self.slots], maps[:, self.slots :]
        attention = attention.flatten(2).softmax(2).view_as(attention)
        height, width = attention.shape[-2:]
        x = torch.linspace(-1, 1, width)[None, None, None, :]
        y = torch.linspace(-1, 1, height)[None, None, :, None]
        positions = torch.stack(((attention * x).sum((2, 3)), (attention * y).sum((2, 3))), -1)
        pooled = (attention[:, :, None] * features[:, None]).sum((3, 4))
        refined = self.refinement(torch.cat((positions, pooled), -1))
        center = refined[..., :2].clamp(-1, 1)
        scale = 1.3 + (24 - 1.3) * torch.sigmoid(refined[..., 2:4])
        activation, what = refined[..., 4].exp(), refined[..., 5:]
        batch, slots = what.shape[:2]
        glimpses = self.glimpses(what.flatten(0, 1)[..., None, None])
        theta = torch.zeros(batch, slots, 2, 3)
        theta[..., 0, 0], theta[..., 1, 1] = scale[..., 0], scale[..., 1]
        theta[..., 2] = -center * scale
        grid = F.affine_grid(theta.flatten(0, 1), [batch * slots, 4, *images.shape[-2:]], align_corners=False)
        placed = F.grid_sample(glimpses, grid, align_corners=False).view(batch, slots, 4, *images.shape[-2:])
        colors = torch.cat((backgrounds[:, None], placed[:, :, :3]), 1)
        behind = self.background_log_activation.exp().expand(batch, 1, *images.shape[-2:])
        weights = torch.cat((behind, activation[..., None, None] * placed[:, :, 3]), 1)
        weights = weights / weights.sum(1, keepdim=True)
        return (weights[:, :, None] * colors).sum(1), weights


class PlainRefinement(nn.Module):
    """The transformer encoder of section 4.1."""

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.embedding = nn.Linear(columns, 256)
        layer = nn.TransformerEncoderLayer(256, 8, 512, batch_first=True)
        self.transformer = nn.TransformerEncoder(layer, 6, enable_nested_tensor=False)
        self.projection = nn.Linear(256, columns)

    def forward(self, queries: Tensor) -> Tensor:
        """Return the refined queries."""
        return self.projection(self.transformer(self.embedding(queries)))  # type: ignore[no-any-return]


def plain_glimpses(channels: Sequence[int]) -> nn.Sequential:
    """Return the generator of Table 7."""
    layers: list[nn.Module] = []
    for stage, (inputs, outputs) in enumerate(itertools.pairwise(channels)):
        geometry = (2, 1, 0) if stage == 0 else (4, 2, 1)
        last = outputs == 4
        layers.append(nn.ConvTranspose2d(inputs, outputs, *geometry, bias=last))
        layers += [nn.Sigmoid()] if last else [nn.GroupNorm(max(1, outputs // 16), outputs), nn.CELU()]
    return nn.Sequential(*layers)


def plain_objects_loss(network: PlainObjects, images: Tensor, backgrounds: Tensor, step: int) -> Tensor:
    """Return the loss of equations 19 to 22."""
    painted, weights = network(images, backgrounds)
    reconstruction = ((painted - images).abs().sum(1) ** 2).mean()
    entropy = -(weights * torch.log(weights + 1e-20)).sum(1)
    warmup = min(1.0, step / 10_000)
    loss: Tensor = reconstruction + 1e-2 * warmup * warmup * entropy.square().mean()
    return loss


def plain_background_loss(network: PlainBackground, images: Tensor) -> Tensor:
    """Return AE-NE's robust loss, for images below 75 pixels or of 128."""
    painted, predicted = network(images)
    errors = F.smooth_l1_loss(255 * painted, 255 * images, beta=3.0, reduction="none").sum(1) / 255
    prediction = F.smooth_l1_loss(predicted, errors.detach() / 3, beta=3 / 255, reduction="none")
    window = 2 * (images.shape[-1] // 75) + 1
    saturated = torch.tanh(errors.detach() / 0.25)
    blurred = F.avg_pool2d(saturated, window, 1, window // 2, count_include_pad=False)
    return ((errors + prediction) * torch.exp(-6 * blurred)).mean()
