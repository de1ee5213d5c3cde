"""What is constant within a texture and differs between textures: features in which a patterned ground is one point.

Not in the paper. Three steps, each pure mathematics once the local responses are there:

1. **Local responses** (`responses.py`): what a frozen network or a bank of filters says of each cell of an image.
2. **Slow projection** (`projection.py`): the few directions in which images differ most for their inner variation.
3. **Ground residual** (`ground.py`): how far each cell is from the robust Gaussian of its image's ground, bounded.
"""
