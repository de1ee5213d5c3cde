"""Assignment of pixels to layers by their colors and their neighbors. Not in the paper.

The paper assigns each pixel to the layer with the largest weight. These weights depend on the pixels only through the
few values of the appearance, so corners are rounded and masks a pixel too small. Here the weights are a prior:

1. Each layer's likelihood falls with its reconstruction error at the pixel, as in a mixture of Laplace distributions.
   Neighboring pixels of similar colors prefer the same layer, as in a Potts model with weaker links across image edges.
   A histogram of the colors that each layer then owns corrects the rims, as in GrabCut (Rother et al., 2004)
   (`posterior`, `mean_field`, `color_histograms`).
2. Slots that only show the background in another light are dropped (`slot_dropping`). Touching slots of the same color
   without an edge between them are merged: they have found the same object twice (`slot_merging`).
3. Slots with two halves that are not alike hold two objects and are divided (`slot_division`).
4. Before a static background, all that differs from it by more than its noise is divided among the slots (`foreground`,
   `foreground_pieces`).
5. Parts of a slot that do not touch become objects of their own (`slot_parts`).

The settings say which of these steps are taken; `applying` takes them, at the model's size. If the network looks at an
image more than once, `second_look` adds what it finds then. In images larger than the model's, their own edges and
colors decide between the remaining layers (`enlarging`, by `sharpening` or the faster `windowed_sharpening`).
"""
