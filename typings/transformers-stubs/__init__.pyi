# The names that gs3d imports. Without this file pyright reads every model of transformers, which
# takes half of its time.
from transformers.models.auto.tokenization_auto import AutoTokenizer as AutoTokenizer
from transformers.models.clip.configuration_clip import CLIPConfig as CLIPConfig
from transformers.models.clip.configuration_clip import CLIPTextConfig as CLIPTextConfig
from transformers.models.clip.configuration_clip import CLIPVisionConfig as CLIPVisionConfig
from transformers.models.clip.image_processing_clip import CLIPImageProcessor as CLIPImageProcessor
from transformers.models.clip.modeling_clip import CLIPModel as CLIPModel
from transformers.models.clip.modeling_clip import CLIPTextModel as CLIPTextModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase as PreTrainedTokenizerBase
from transformers.tokenization_utils_tokenizers import (
    PreTrainedTokenizerFast as PreTrainedTokenizerFast,
)
