"""A plain model with the published parameter names, written from the paper and the specification alone."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import SegformerConfig, SegformerForSemanticSegmentation


def sequence(convolution: nn.Module, channels: int) -> nn.Sequential:
    return nn.Sequential(convolution, nn.BatchNorm2d(channels), nn.CELU())


class Down(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.bloc1 = sequence(nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False), outputs)
        self.bloc2 = sequence(nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bloc1(x)
        outputs: Tensor = x + self.bloc2(x)
        return outputs


class Up(nn.Module):
    def __init__(self, inputs: int, outputs: int, odd: tuple[int, int]) -> None:
        super().__init__()
        self.bloc1 = sequence(nn.Conv2d(2 * inputs, 2 * inputs, 3, 1, 1, bias=False), 2 * inputs)
        grow = nn.ConvTranspose2d(2 * inputs, outputs, 4, 2, 1, output_padding=odd, bias=False)
        self.bloc2 = sequence(grow, outputs)

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.bloc2(x + self.bloc1(x))
        return outputs


class Unet(nn.Module):
    def __init__(self, size: tuple[int, int], outputs: int) -> None:
        super().__init__()
        small = size[0] < 200 and size[1] < 200
        levels = (80, 128, 192, 256, 256, 256) if small else (48, 64, 96, 128, 128, 256, 256)
        sizes = [tuple(side >> level for side in size) for level in range(len(levels))]
        self.first_feature_map = sequence(nn.Conv2d(3, levels[0], 3, 1, 1, bias=False), levels[0])
        self.downsample_blocks = nn.ModuleList(Down(*pair) for pair in itertools.pairwise(levels))
        self.center_block = sequence(nn.Conv2d(levels[-1], levels[-1], 3, 1, 1, bias=False), levels[-1])
        self.upsample_blocks = nn.ModuleList(
            # By level, the finest first; the forward pass runs from the last to the first.
            Up(levels[i + 1], levels[i], (sizes[i][0] % 2, sizes[i][1] % 2))
            for i in range(len(levels) - 1)
        )
        self.last_skip_layer = sequence(nn.Conv2d(2 * levels[0], outputs, 3, 1, 1, bias=False), outputs)
        self.last_residual_layer = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.conv1x1 = nn.Conv2d(outputs, outputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        maps = [self.first_feature_map(x)]
        for block in self.downsample_blocks:
            maps.append(block(maps[-1]))
        x = self.center_block(maps[-1])
        for block in reversed(self.upsample_blocks):
            x = block(torch.cat([x, maps.pop()], 1))
        x = self.last_skip_layer(torch.cat([x, maps.pop()], 1))
        outputs: Tensor = self.conv1x1(x + self.last_residual_layer(x))
        return outputs


class Segformer(nn.Module):
    def __init__(self, outputs: int, small: bool) -> None:
        super().__init__()
        config = SegformerConfig()  # MiT-B0
        config.num_labels = outputs
        if not small:
            config.hidden_sizes, config.depths, config.decoder_hidden_size = [64, 128, 320, 512], [3, 4, 18, 3], 768
        self.complete_model = SegformerForSemanticSegmentation(config)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.complete_model(x).logits
        return logits


class Encoder(nn.Module):
    def __init__(
        self, unet: bool, small: bool, size: tuple[int, int], k: int, features: int, transformer: bool
    ) -> None:
        super().__init__()
        self.k = k
        channels = k + features
        self.feature_and_attention_map_generator: Unet | Segformer = (
            Unet(size, channels) if unet else Segformer(channels, small)
        )
        h, w = size if unet else ((size[0] + 3) // 4, (size[1] + 3) // 4)
        across = [[2 * i / (w - 1) - 1 for i in range(w)] for _ in range(h)]
        down = [[2 * j / (h - 1) - 1 for _ in range(w)] for j in range(h)]
        self.position_map = nn.Parameter(torch.tensor([[across, down]]), requires_grad=False)
        self.refine = transformer
        if transformer:
            self.feature_vector_embedding = nn.Linear(features + 2, 256)
            self.transformer = nn.TransformerEncoder(
                nn.TransformerEncoderLayer(256, 8, 512), 6, enable_nested_tensor=False
            )
            self.latents_projection = nn.Linear(256, features + 2)

    def forward(self, images: Tensor) -> Tensor:
        """Queries, K x N x (2 + features)."""
        maps = self.feature_and_attention_map_generator(images)
        queries = []
        for image in maps:
            values = torch.cat([self.position_map[0], image[self.k :]]).flatten(1)
            attention = [torch.exp(a.double()) / torch.exp(a.double()).sum() for a in image[: self.k]]
            queries.append(torch.stack([(values.double() * a.flatten()).sum(1) for a in attention]).to(maps))
        stacked = torch.stack(queries, 1)
        if self.refine:
            stacked = self.latents_projection(self.transformer(self.feature_vector_embedding(stacked)))
        return stacked


class Renderer(nn.Module):
    def __init__(self, size: tuple[int, int], z: int, scales: int, per_pixel: bool, maximum: float) -> None:
        super().__init__()
        self.size, self.scales, self.maximum = size, scales, maximum
        channels = [64, 32, 16, 8] if max(size) <= 64 else [128, 64, 32, 16, 8]
        channels = [256, *channels] if max(size) > 128 else channels
        layers: list[nn.Module] = []
        for i, (inputs, outputs) in enumerate(itertools.pairwise([z, *channels])):
            shape = (2, 1, 0) if i == 0 else (4, 2, 1)
            layers += [nn.ConvTranspose2d(inputs, outputs, *shape, bias=False)]
            layers += [nn.GroupNorm(max(1, outputs // 16), outputs), nn.CELU()]
        layers += [nn.ConvTranspose2d(channels[-1], 4, 4, 2, 1), nn.Sigmoid()]
        self.glimpse_generator = nn.Sequential(*layers)
        self.background_activation_logit = nn.Parameter(torch.full((1, 1), 11.0))
        if per_pixel:
            self.local_background_activation_logit = nn.Parameter(torch.randn(1, 1, 1, *size))
        self.background_mask_logit = nn.Parameter(torch.zeros(1, 1, 1, 1, 1), requires_grad=False)
        self.background_mask = nn.Parameter(torch.ones(1, 1, 1, 1, 1), requires_grad=False)

    def forward(self, queries: Tensor, background: Tensor) -> tuple[Tensor, Tensor]:
        """The images, and the layers' weights (N x K + 1 x H x W)."""
        h, w = self.size
        rows, columns = ((2 * torch.arange(side).to(queries) + 1) / side - 1 for side in (h, w))
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        alpha0 = self.background_activation_logit.view(1, 1)
        if hasattr(self, "local_background_activation_logit"):
            alpha0 = alpha0 + self.local_background_activation_logit[0, 0, 0]
        images, weights = [], []
        for n in range(queries.shape[1]):
            activated, layers = [alpha0.exp().expand(h, w)], [background[n]]
            for query in queries[:, n]:
                centre = query[:2].clamp(-1, 1)
                scale = 1.3 + (self.maximum - 1.3) * torch.sigmoid(query[2 : 2 + self.scales])
                glimpse = self.glimpse_generator(query[3 + self.scales :].view(1, -1, 1, 1))
                grid = torch.stack([(x - centre[0]) * scale[0], (y - centre[1]) * scale[-1]], -1)
                placed = F.grid_sample(glimpse, grid[None], "bilinear", "zeros", align_corners=False)[0]
                activated.append(query[4].exp() * placed[3])  # column 4, whatever the scaling
                layers.append(placed[:3])
            total = torch.stack(activated)
            weights.append(total / total.sum(0))
            images.append((weights[-1][:, None] * torch.stack(layers)).sum(0))
        return torch.stack(images), torch.stack(weights)


def shrink(side: int, kernel: int, stride: int, padding: int) -> tuple[int, int]:
    """A side's size after a convolution, and the number of rows at its end that are not reached."""
    steps, rest = divmod(side + 2 * padding - kernel, stride)
    return steps + 1, rest


def block_sizes(side: int, large: bool) -> list[tuple[int, int, int, int]]:
    """Side, kernel, stride, padding, from the image to a single cell."""
    found = []
    while side > 1:
        if side > 5:
            found.append((side, 5, 3 if large else 2, 2))
        elif side > 3 and not large:
            found.append((side, 4, 2, 1))
        else:
            found.append((side, side, 1, 0))
        side, _ = shrink(*found[-1])
    return found


def block_steps(size: tuple[int, int]) -> list[tuple[tuple[int, int, int, int], ...]]:
    """Both sides' geometry, block by block; the side that ends first stays a single cell."""
    sides = (block_sizes(side, max(size) >= 200) for side in size)
    return list(itertools.zip_longest(*sides, fillvalue=(1, 1, 1, 0)))


class BackgroundBlock(nn.Module):
    def __init__(self, name: str, size: tuple[int, int], layers: list[nn.Module]) -> None:
        super().__init__()
        h, w = size
        rows = torch.tensor([i / (h - 1) - 0.5 for i in range(h)] if h > 1 else [1.0])
        columns = torch.tensor([j / (w - 1) - 0.5 for j in range(w)] if w > 1 else [1.0])
        channels = torch.stack([rows[:, None].expand(h, w), columns[None].expand(h, w)])[None]
        self.name = name
        self.add_module(name, nn.Sequential(*layers))
        self.positional_encoding = nn.Parameter(channels.clone(), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        positions = self.positional_encoding.expand(len(x), -1, -1, -1)
        outputs: Tensor = getattr(self, self.name)(torch.cat([x, positions], 1))
        return outputs


ENCODERS = {  # simple and complex, by the number of blocks
    5: ((3, 64, 160, 160, 32, 16), (3, 64, 160, 160, 16, 16)),
    6: ((3, 64, 160, 320, 160, 32, 16), (3, 64, 160, 320, 160, 16, 16)),
    7: ((3, 64, 160, 320, 160, 160, 32, 16), (3, 64, 320, 640, 640, 320, 16, 16)),
}
GENERATORS = {
    5: ((4, 144, 256, 256, 32, 16), (4, 144, 640, 640, 16, 16)),
    6: ((4, 144, 256, 512, 256, 32, 16), (4, 144, 640, 1280, 640, 16, 16)),
    7: ((4, 144, 256, 512, 256, 256, 32, 16), (4, 144, 640, 1280, 640, 320, 16, 16)),
}


class BackgroundEncoder(nn.Module):
    def __init__(self, size: tuple[int, int], complicated: bool) -> None:
        super().__init__()
        steps = block_steps(size)
        channels = ENCODERS[len(steps)][complicated]
        blocks = []
        for (high, wide), (inputs, outputs) in zip(steps, itertools.pairwise(channels), strict=True):
            side, kernel, stride, padding = zip(high, wide, strict=True)
            convolution = nn.Conv2d(inputs + 2, outputs, kernel, stride, padding, bias=False)
            layers = [convolution, nn.GroupNorm(max(1, outputs // 16), outputs), nn.CELU()]
            blocks.append(BackgroundBlock("downsample", side, layers))
        self.background_encoder = nn.Sequential(*blocks)

    def forward(self, images: Tensor) -> Tensor:
        latents: Tensor = self.background_encoder(images)
        return latents.flatten(1)


class BackgroundGenerator(nn.Module):
    def __init__(self, size: tuple[int, int], complicated: bool) -> None:
        super().__init__()
        steps = block_steps(size)
        channels = GENERATORS[len(steps)][complicated]
        blocks = []
        for level in reversed(range(len(steps))):
            high, wide = steps[level]
            below, missing = zip(shrink(*high), shrink(*wide), strict=True)
            _, kernel, stride, padding = zip(high, wide, strict=True)
            outputs = channels[level]
            layers: list[nn.Module] = [
                nn.ConvTranspose2d(
                    channels[level + 1] + 2, outputs, kernel, stride, padding, output_padding=missing, bias=False
                )
            ]
            layers += [nn.GroupNorm(max(1, outputs // 16), outputs), nn.CELU()] if level else []
            blocks.append(BackgroundBlock("upsample", below, layers))
        self.background_generator = nn.Sequential(*blocks)

    def forward(self, latents: Tensor) -> Tensor:
        """Colors and predicted error, from 0 to 255."""
        return 255 * torch.sigmoid(self.background_generator(latents.view(len(latents), -1, 1, 1)))


def disturb(module: nn.Module) -> None:
    """Give every layer distinct values: running statistics, affine parameters, and outputs worth comparing."""
    for name, value in module.state_dict().items():
        if name.endswith(("running_mean", "bias", "in_proj_bias")) and value.ndim == 1:
            value.normal_(0, 0.3)
        elif name.endswith("running_var") or (name.endswith("weight") and value.ndim == 1):
            value.uniform_(0.5, 1.5)
        elif "transformer.layers" in name:  # torch starts all layers as copies of one
            value.normal_(0, 0.08)
        elif name.endswith(("conv1x1.weight", "classifier.weight", "latents_projection.weight")):
            value.mul_(4)
        elif name.startswith("glimpse_generator") and value.ndim == 4:
            value.mul_(3)


@dataclass
class Original:
    """The networks of one checkpoint."""

    size: tuple[int, int] = (64, 64)
    k: int = 3
    z: int = 32
    scales: int = 2
    unet: bool = False
    small: bool = True
    """SegFormer-B0 in place of B3."""
    transformer: bool = True
    per_pixel: bool = False
    maximum: float = 24.0
    background: str | None = None
    """``simple`` or ``complex``."""
    encoder: Encoder = field(init=False)
    renderer: Renderer = field(init=False)
    background_encoder: BackgroundEncoder = field(init=False)
    background_generator: BackgroundGenerator = field(init=False)

    def __post_init__(self) -> None:
        torch.manual_seed(self.k + self.scales)
        features = self.scales + 1 + self.z
        self.encoder = Encoder(self.unet, self.small, self.size, self.k, features, self.transformer).eval()
        self.renderer = Renderer(self.size, self.z, self.scales, self.per_pixel, self.maximum).eval()
        modules: list[nn.Module] = [self.encoder, self.renderer]
        if self.background:
            self.background_encoder = BackgroundEncoder(self.size, self.background == "complex").eval()
            self.background_generator = BackgroundGenerator(self.size, self.background == "complex").eval()
            modules += [self.background_encoder, self.background_generator]
        for module in modules:
            disturb(module)
        # Objects that are worth comparing: a third of the image wide, and stronger than the background.
        if self.transformer:
            self.encoder.latents_projection.bias.data[2 : 2 + self.scales] = -2
        elif isinstance(network := self.encoder.feature_and_attention_map_generator, Segformer):
            head = network.complete_model.decode_head.classifier
            assert head.bias is not None
            head.bias.data[self.k : self.k + self.scales] = -2
        self.renderer.background_activation_logit.data.fill_(-5)

    def content(self) -> dict[str, object]:
        """The content of these networks' published file."""
        states: dict[str, object] = {
            "encoder_state_dict": self.encoder.state_dict(),
            "generator_state_dict": self.renderer.state_dict(),
        }
        if self.background:
            states["background_encoder_state_dict"] = self.background_encoder.state_dict()
            states["background_generator_state_dict"] = self.background_generator.state_dict()
        optimizer = torch.optim.Adam([nn.Parameter(torch.zeros(1))])
        training = {"step": 125000, "rate": 4e-6, "epoch": 200}
        return {**states, "trainer_state_dict": training, "optimizer_state_dict": optimizer.state_dict()}

    @torch.no_grad()
    def paint_background(self, images: Tensor) -> Tensor:
        """Colors and predicted error in [0, 1]; the published networks work on 0 to 255."""
        painted: Tensor = self.background_generator(self.background_encoder(255 * images))
        return painted / 255

    @torch.no_grad()
    def reconstruct(self, images: Tensor, background: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (N x K x columns), images, weights."""
        queries = self.encoder(images)
        return queries.transpose(0, 1), *self.renderer(queries, background)

    def to(self, dtype: torch.dtype) -> None:
        """Compute in another precision."""
        self.encoder.to(dtype)
        self.renderer.to(dtype)


@pytest.fixture(scope="session")
def original() -> type[Original]:
    return Original


@pytest.fixture
def saved(tmp_path: Path) -> Callable[[object], Path]:
    """Write the content of a checkpoint."""

    def write(content: object, name: str = "checkpoint.pth") -> Path:
        torch.save(content, tmp_path / name)
        return tmp_path / name

    return write
