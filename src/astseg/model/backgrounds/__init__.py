"""The networks that reconstruct a background, each a file; `build_background` builds one by its name.

Backgrounds lie on a manifold of few dimensions: all an image may say of its background are a few numbers, so that
objects, which change from image to image, do not pass.
"""
