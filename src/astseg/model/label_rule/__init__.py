"""Assignment of pixels to layers by their colors and their neighbors. Not in the paper.

The paper assigns each pixel to the layer with the largest weight. These weights depend on the pixels only through the
few values of the appearance, so corners are rounded and masks a pixel too small. Here the weights are a prior. Each
layer's likelihood falls with its reconstruction error at the pixel, as in a mixture of Laplace distributions, and
neighboring pixels of similar colors prefer the same layer, as in a Potts model with weaker links across image edges.
The colors that each layer owns by then, as a histogram, correct the rims, as in GrabCut (Rother et al., 2004). Touching
slots of the same color without an edge between them are merged: they have found the same object twice. Slots that only
show the background in another light are dropped. Slots with two halves that are not alike hold two objects and are
divided. All this happens at the model's size; a larger image's own edges and colors then decide between the layers that
are left.

The order is that of `applying`: `posterior`, with `slot_dropping` and `slot_merging`, `slot_division`, `foreground` and
`foreground_pieces`, `slot_parts`. If all this is done again, `second_look` adds what is found then. Larger images come
last (`enlarging`): their weights by `sharpening`, on a processor by `windowed_sharpening`, which is faster.
"""
