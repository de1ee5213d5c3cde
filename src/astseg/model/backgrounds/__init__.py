"""The networks that reconstruct a background, one file each; `build_background` builds one by its name.

Backgrounds lie on a manifold of few dimensions. The networks therefore reduce an image to a few numbers (the static
background to its light alone), too few to encode objects, which change from image to image.
"""
