"""The networks that turn an image into attention logits and a feature map, one file each; see `build_feature_maps`.

Each is a module that maps images, N x 3 x H x W in [0, 1], or slow features, of more channels, to N x channels x h x w;
the first K channels are the attention logits of the K slots, the others are the feature map.
"""
