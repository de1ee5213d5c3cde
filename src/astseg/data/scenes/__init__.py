"""Generate look-alikes of the benchmarks: images with exact masks of the visible objects, and shadow maps."""

from astseg.data.scenes.generation import Scenes, render, split_indices
from astseg.data.scenes.materials.images import TextureFolder, open_textures
from astseg.data.scenes.scene_sets import SCENES, SceneSet
from astseg.data.scenes.store_generation import make_store

__all__ = ["SCENES", "SceneSet", "Scenes", "TextureFolder", "make_store", "open_textures", "render", "split_indices"]
