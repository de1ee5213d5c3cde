"""The networks that reconstruct a background, one file each; `build_background` builds one by its name.

Backgrounds lie on a manifold of few dimensions. An image is therefore reduced to a few numbers, too few to encode
objects, which change from image to image.
"""
