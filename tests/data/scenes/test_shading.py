import torch
from tests.data.scenes.scene_builders import ball, make_scene
from torch import Tensor

from astseg.data.scenes.description import Material, Scene
from astseg.data.scenes.packing import FIRST_BODY, FLOOR, SKY, PackedScenes, pack
from astseg.data.scenes.shading import Shaded, haze, shade
from astseg.data.scenes.tracing import Hits, first_hits

SIZE = 64


def shaded(scene: Scene) -> tuple[PackedScenes, Hits, Shaded]:
    packed = pack([scene])
    hits = first_hits(packed, SIZE)
    return packed, hits, shade(packed, hits, SIZE)


def points(packed: PackedScenes, hits: Hits) -> Tensor:
    return packed.camera[:, 0, None, None] + hits.direction * hits.depth


def test_shadow_of_a_ball_under_a_small_lamp_is_a_disc() -> None:
    # A lamp 10 above a ball of radius 1 whose center is 2 high: rays that touch it meet the floor at this distance.
    packed, hits, result = shaded(make_scene(ball((0.0, 0.0, 2.0))))
    radius = 10 / (8**2 - 1) ** 0.5
    x, y, _ = points(packed, hits)
    floor = hits.surface == FLOOR
    distance = torch.sqrt(x * x + y * y)
    assert result.in_shadow[floor & (distance < radius - 0.02)].min() == 1
    assert result.in_shadow[floor & (distance > radius + 0.02)].max() == 0
    assert result.color[:, result.in_shadow.bool()].max() == 0  # no other light reaches it


def test_a_body_does_not_lie_in_its_own_shadow() -> None:
    _, hits, result = shaded(make_scene(ball()))
    assert result.in_shadow[hits.surface == FIRST_BODY].sum() == 0


def test_a_large_lamp_gives_soft_shadows_in_steps_of_its_samples() -> None:
    far_away = ball((0.0, 0.0, -50.0))

    def visible_shares(half_size: float) -> list[float]:
        with_ball, alone = (shaded(make_scene(body, half_size=half_size)) for body in (ball((0.0, 0.0, 2.0)), far_away))
        floor = (with_ball[1].surface == FLOOR) & (alone[2].color[0] > 0.1)
        shares = with_ball[2].color[0][floor] / alone[2].color[0][floor]
        return sorted({round(share, 3) for share in shares.tolist()})

    assert visible_shares(0.0) == [0, 1]
    assert visible_shares(1.5) == [0, 0.25, 0.5, 0.75, 1]


def test_the_sky_keeps_its_color() -> None:
    _, hits, result = shaded(make_scene(ball()))
    sky = result.color[:, hits.surface == SKY]
    torch.testing.assert_close(sky, torch.tensor([[0.04], [0.16], [0.64]]).expand_as(sky))


def test_haze_takes_half_at_its_distance_and_only_from_the_floor() -> None:
    packed = pack([make_scene(ball(), haze=9.0)])
    hits = first_hits(packed, SIZE)
    share = haze(packed, torch.zeros(len(hits.depth), 1, dtype=torch.long), hits)
    distance = (points(packed, hits) - packed.camera[:, 0, None, None]).norm(dim=0)
    floor = hits.surface == FLOOR
    assert share[~floor].max() == 0
    torch.testing.assert_close(share[floor], distance[floor] ** 4 / (distance[floor] ** 4 + 9.0**4))
    clear = pack([make_scene(ball())])
    assert haze(clear, torch.zeros(len(hits.depth), 1, dtype=torch.long), hits).max() == 0


def test_a_full_mirror_replaces_the_bodys_own_light() -> None:
    plain = shaded(make_scene(ball(material=Material((1.0, 1.0, 1.0)))))
    mirror = shaded(make_scene(ball(material=Material((1.0, 1.0, 1.0), mirror=1.0))))
    body = plain[1].surface == FIRST_BODY
    assert (plain[2].color[:, body] - mirror[2].color[:, body]).abs().mean() > 0.1
    # The upper rim mirrors the blue sky.
    assert (mirror[2].color[2, body] > mirror[2].color[0, body] * 1.5).any()
