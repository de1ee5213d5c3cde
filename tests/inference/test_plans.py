import torch

from astseg.inference.plans import model_digest
from astseg.model.ast_seg import AstSeg
from astseg.model.label_rule.settings import LabelRule
from astseg.training.config import Recipe


def test_a_model_is_told_from_others(tiny_recipe: Recipe) -> None:
    torch.manual_seed(0)
    model = AstSeg(tiny_recipe.architecture, tiny_recipe.label_rule).eval()
    digests = {model_digest(model)}
    torch.manual_seed(0)
    assert model_digest(AstSeg(tiny_recipe.architecture, tiny_recipe.label_rule)) in digests
    digests.add(model_digest(AstSeg(tiny_recipe.architecture, tiny_recipe.label_rule)))  # other weights
    model.label_rule = None if tiny_recipe.label_rule else LabelRule()
    digests.add(model_digest(model))
    assert len(digests) == 3
    assert model_digest(model.to(torch.bfloat16)) not in digests
