"""Identities in video: which object of a frame is which of the frames before. Not in the paper.

A `Tracker` is given nothing but label images and, if there are any, features of the objects, so it works for labels of
any origin. It goes frame by frame and remembers one region for each track. In every frame

* the labels are cut into pieces: what shares a label with background between is more than one object (`find_pieces`);
* each track moves on by its velocity, and `pair_costs` compares it with every piece;
* the Hungarian method assigns pieces to tracks, at the least cost in all;
* a piece left over that lies where a track should be, and beside the piece that the track goes on with, is a part of
  the same object: two slots on one lorry. When there is background between the two, they go separate ways;
* any other piece left over begins a track;
* a track left over takes its share of a piece that goes on with another track, but lies where only the first should be:
  two cars in one slot;
* else it is kept for some frames, hidden perhaps behind the object that is now where it should be.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt
from jaxtyping import Float, Int
from scipy.ndimage import binary_dilation
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from astseg._core.arguments import check_kind
from astseg._core.settings_io import NOT_NEGATIVE, SHARE, check_values
from astseg._core.tensors import to_array
from astseg.inference.regions import Floats, Pieces, Region, cut_regions, find_pieces


@dataclass(frozen=True)
class TrackingSettings:
    """The constants of a `Tracker`, measured in docs/tracking.md."""

    overlap: float = 1.0
    """Weight of 1 - IoU with where the track should be; pixels that other objects cover do not count."""
    place: float = 0.7
    """Weight of the distance from there, in sizes of the object; none where the object that hides the track is."""
    scale: float = 0.25
    """Weight of the logarithm of the ratio of the areas; a hidden track may come out smaller."""
    appearance: float = 3.0
    """Weight of the squared distance of the features, as a share of that between objects of one frame."""
    absence: float = 0.5
    """Cost of a track that was not seen in the frame before: of two that fit alike, the one that was seen goes on."""
    max_cost: float = 3.0
    """Pairs that cost more are two objects."""
    max_gap: int = 30
    """The number of frames after which a track that is not seen ends."""
    memory: float = 0.7
    """What remains, in a frame, of the former velocity and features."""
    area_memory: float = 0.95
    """What remains of a larger area that was seen before."""
    part_share: float = 0.7
    """The share of a part that lies where the track should be."""
    least_size: float = 0.05
    """The size, as a share of the image's, that counts in addition: borders are uncertain, however small the object."""

    def __post_init__(self) -> None:
        shares = dict.fromkeys(("memory", "area_memory", "part_share"), SHARE)
        check_values(self, **{field.name: NOT_NEGATIVE for field in fields(self)} | shares)


@dataclass(frozen=True, eq=False)
class Track:
    """What is remembered of an object."""

    number: int
    """From 1 on, in the order of their beginnings."""
    region: Region
    """When it was last seen."""
    area: float
    """Of the object when it is not hidden, as far as known."""
    appearance: Floats | None
    velocity: Floats
    """Rows and columns per frame."""
    missed: int = 0
    """The number of frames since it was last seen."""
    hider: int | None = None
    """The track that may hide it."""

    @property
    def shift(self) -> Floats:
        """Rows and columns from where it was last seen to where it should be in the next frame."""
        return self.velocity * (self.missed + 1)


class Tracker:
    """Numbers the objects of successive label images.

    The same images give the same tracks whatever the labels in them are. Memory does not grow with the number of
    frames: as many tracks are kept as there were objects in the latest ``max_gap`` frames.
    """

    def __init__(self, settings: TrackingSettings | None = None) -> None:
        check_kind("settings", settings, TrackingSettings, optional=True)
        self.settings = settings or TrackingSettings()
        self.tracks: list[Track] = []
        """Those that go on, from the first to begin; the hidden too."""
        self.begun = 0
        """How many tracks have begun."""
        self._spread, self._spreads = 0.0, 0
        """Mean squared distance between features of two objects in one frame, and of how many frames."""

    def update(
        self,
        labels: Int[np.ndarray, "height width"] | Int[Tensor, "height width"],
        appearances: Float[np.ndarray, "labels appearance"] | None = None,
    ) -> Int[np.ndarray, "height width"]:
        """Take the next frame, and return the number of the track at each pixel, 0 for the background.

        Args:
            labels: 0 is the background.
            appearances: features of the objects, such as ``z_what``; row k - 1 belongs to label k. Given for all frames
                or for none.

        Raises:
            ValueError: the labels are no whole numbers from 0 on, or features of a label are missing.
        """
        labels = _checked(labels)
        if appearances is not None and np.ndim(appearances) != 2:
            raise ValueError(f"features should be an array, labels x appearance, not of shape {np.shape(appearances)}")
        if appearances is not None and len(appearances) < labels.max(initial=0):
            raise ValueError(f"label {labels.max()} has no features: there are {len(appearances)} rows of them")
        pieces = find_pieces(labels)
        features = None if appearances is None else np.asarray(appearances, np.float64)[pieces.labels - 1]
        if features is not None and len(features) > 1:
            self._learn_spread(features)
        main = self._assign(pieces, features)
        places = np.zeros(len(pieces.regions) + 1, np.int64)
        for piece, place in (main | self._parts(pieces, main)).items():
            places[piece + 1] = place + 1
        owners = self._divide(places[pieces.image])
        looks = {} if features is None else {place: features[piece] for piece, place in main.items()}
        tracks: npt.NDArray[np.int64] = np.array([0, *(track.number for track in self.tracks)])[owners]
        self.tracks = self._going_on(owners, tracks, looks)
        for piece, region in enumerate(pieces.regions):
            if not places[piece + 1]:
                new = self._begin(region, None if features is None else features[piece])
                tracks[pieces.image == piece + 1] = new.number
                self.tracks.append(new)
        return tracks

    def _learn_spread(self, features: Floats) -> None:
        """Take the features of two or more objects of a frame into the mean of their distances."""
        self._spreads += 1
        self._spread += (_mean_distance(features) - self._spread) / self._spreads

    def _going_on(
        self,
        owners: Int[np.ndarray, "height width"],
        tracks: Int[np.ndarray, "height width"],
        looks: Mapping[int, Floats],
    ) -> list[Track]:
        """Return the tracks after a frame, those that were seen and those that may be seen again.

        Args:
            owners: the place of each pixel's track, from 1 on; 0 for none.
            tracks: its number.
            looks: what was seen of an appearance, by the place of its track from 0 on.
        """
        regions = cut_regions(owners)
        going_on = []
        for place, track in enumerate(self.tracks):
            if place + 1 in regions:
                going_on.append(self._seen(track, regions[place + 1], looks.get(place, track.appearance)))
            elif self._may_return(lost := self._lost(track, tracks), owners.shape):
                going_on.append(lost)
        return going_on

    def _begin(self, region: Region, appearance: Floats | None) -> Track:
        """Return a new track of an object that is seen for the first time."""
        self.begun += 1
        return Track(self.begun, region, region.area, appearance, np.zeros(2))

    def _assign(self, pieces: Pieces, features: Floats | None) -> dict[int, int]:
        """Return the place of the track that goes on with each piece, by the piece's place."""
        if not self.tracks or not pieces.regions:
            return {}
        costs = pair_costs(self.tracks, pieces, features, self._spread, self.settings)
        # A track may also go on with nothing, at the cost of the dearest pair.
        nothing = np.full((len(self.tracks), len(self.tracks)), self.settings.max_cost)
        chosen = zip(*linear_sum_assignment(np.hstack([costs, nothing])), strict=True)
        return {int(piece): int(track) for track, piece in chosen if piece < len(pieces.regions)}

    def _parts(self, pieces: Pieces, main: Mapping[int, int]) -> dict[int, int]:
        """Return the place of the track of each further piece that is a part of its object."""
        parts = {}
        for piece, track in main.items():
            inside = self.tracks[track].region.count(pieces.image, self.tracks[track].shift)[1:]
            for other, region in enumerate(pieces.regions):
                beside = pieces.islands[other] == pieces.islands[piece]
                if other not in main and beside and inside[other] >= self.settings.part_share * region.area:
                    parts[other] = track
        return parts

    def _divide(self, owners: Int[np.ndarray, "height width"]) -> Int[np.ndarray, "height width"]:
        """Give tracks that are left over their share of pieces that other tracks do not explain.

        Args:
            owners: the place of each pixel's track, from 1 on; 0 for none.
        """
        divided = owners.copy()
        counts = np.bincount(owners.ravel(), minlength=len(self.tracks) + 1)[1:]
        left_over = np.flatnonzero(counts == 0).tolist()
        if not left_over:
            return divided
        expected = [track.region.paint(owners.shape, track.shift) for track in self.tracks]
        explained = np.any([part & (owners == place + 1) for place, part in enumerate(expected)], 0)
        for place in left_over:
            share = expected[place] & (divided > 0) & ~explained
            if share.any() and share.sum() >= self.settings.part_share * expected[place].sum():
                divided[share] = place + 1
                explained |= share
        return divided

    def _seen(self, track: Track, region: Region, appearance: Floats | None) -> Track:
        """Return a track after it was seen."""
        memory, area_memory = self.settings.memory, self.settings.area_memory
        # The centroid of an object that is being hidden, or comes out, does not move as the object does.
        alike = min(region.area, track.region.area) / max(region.area, track.region.area)
        measured = (region.centroid - track.region.centroid) / (track.missed + 1)
        velocity = track.velocity + (1 - memory) * alike**2 * (measured - track.velocity)
        area = max(region.area, area_memory * track.area + (1 - area_memory) * region.area)
        if appearance is not None and track.appearance is not None:
            appearance = memory * track.appearance + (1 - memory) * appearance
        return Track(track.number, region, area, appearance, velocity)

    def _lost(self, track: Track, tracks: Int[np.ndarray, "height width"]) -> Track:
        """Return a track after it was not seen; what is now most of where it should be hides it."""
        hider = track.hider
        if hider is None:
            wide = Region(track.region.corner - 1, binary_dilation(np.pad(track.region.mask, 1)))
            hider = wide.most(tracks, track.shift) or None
        return replace(track, missed=track.missed + 1, hider=hider)

    def _may_return(self, track: Track, shape: Sequence[int]) -> bool:
        """Return whether a track that is not seen may be seen again: if it is hidden, or else still in the image."""
        place = track.region.centroid + track.velocity * track.missed
        inside = bool(((place >= 0) & (place <= np.array(shape) - 1)).all())
        return track.missed <= self.settings.max_gap and (inside or track.hider is not None)


def pair_costs(
    tracks: Sequence[Track], pieces: Pieces, features: Floats | None, spread: float, settings: TrackingSettings
) -> Float[np.ndarray, "tracks pieces"]:
    """Return how unlike each piece is what each track should be.

    Args:
        tracks: up to the frame before.
        pieces: of the frame.
        features: of the pieces, one a row.
        spread: the mean squared distance of features of different objects; 0 if unknown.
        settings: the weights.
    """
    areas = np.array([region.area for region in pieces.regions], np.float64)
    centroids = np.array([region.centroid for region in pieces.regions])
    least = settings.least_size**2 * pieces.image.size
    costs = np.empty((len(tracks), len(areas)))
    homes = {track.number: _island(track, pieces) for track in tracks if not track.missed}
    for row, track in enumerate(tracks):
        outside, *common = track.region.count(pieces.image, track.shift)
        iou = np.array(common) / (areas + outside)
        offset = np.linalg.norm(centroids - track.region.centroid - track.shift, axis=1)
        place = offset / np.sqrt(np.maximum(areas, track.area) + least)
        scale = np.log((areas + least) / (track.area + least))
        if track.hider is not None:
            place[pieces.islands == homes.get(track.hider, 0)] = 0
            scale = scale.clip(min=0)
        costs[row] = settings.overlap * (1 - iou) + settings.place * place + settings.scale * abs(scale)
        costs[row] += settings.absence * (track.missed > 0)
        if features is not None and track.appearance is not None and spread:
            costs[row] += settings.appearance * ((features - track.appearance) ** 2).sum(1) / spread
    return costs


def _island(track: Track, pieces: Pieces) -> int:
    """Return the island that covers most of where a track should be, 0 for none."""
    return track.region.most(np.append(0, pieces.islands)[pieces.image], track.shift)


def _mean_distance(features: Floats) -> float:
    """Return the mean squared distance between two of several rows."""
    return float(2 * features.var(0, ddof=1).sum())


def _checked(labels: Int[np.ndarray, "height width"] | Int[Tensor, "height width"]) -> Int[np.ndarray, "height width"]:
    """Return labels in main memory.

    Raises:
        ValueError: they are no whole numbers from 0 on, or there is no pixel.
    """
    array = to_array(labels)
    if array.ndim != 2 or not array.size or array.dtype.kind not in "iub" or array.min(initial=0) < 0:
        raise ValueError(f"labels should be H x W whole numbers from 0 on, not {array.dtype} of shape {array.shape}")
    return array
