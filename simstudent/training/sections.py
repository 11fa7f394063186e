"""The training sections of a recipe: ``sft``, ``dpo``, ``dapo``; defaults as in Koutcheme et al. (2026)."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from simstudent.section import Section

Schedule = Literal["cosine", "linear", "constant"]
Backend = Literal["plain", "unsloth"]
PairMode = Literal["grade", "next", "random", "repeat"]


class LoraSection(Section):
    r: int = Field(8, ge=1)
    alpha: int = Field(16, ge=1)
    dropout: float = Field(0.0, ge=0, lt=1)
    target: str | tuple[str, ...] = "all-linear"


def _whole_batches(value: int, info: ValidationInfo) -> int:
    batch = info.data.get("batch_size", value)
    if batch % value:
        raise ValueError(f"batch_size ({batch}) is not a multiple of micro_batch_size ({value})")
    return value


class SftSection(Section):
    """Supervised fine-tuning."""

    backend: Backend = "plain"
    """plain: transformers and TRL as they are; unsloth: with its kernels, where its set of versions is installed."""
    lora: LoraSection | None = LoraSection()
    """null: no adapter, all weights are trained (continued pretraining)."""
    learning_rate: float = Field(1e-4, gt=0)
    schedule: Schedule = "cosine"
    warmup: float = Field(0.1, ge=0, lt=1)
    epochs: float = Field(1.0, gt=0)
    batch_size: int = Field(8, ge=1)
    """Rows per optimiser step: trajectories or, packed, windows full of them."""
    micro_batch_size: int = Field(1, ge=1)
    """Rows per forward pass; batch_size must be a multiple of it."""
    packing: bool = False
    """Fill each row of up to dialogue.window tokens with several trajectories, none of which sees another."""
    attention: str = "auto"
    """One of transformers' implementations; auto: for packed rows on an NVIDIA GPU varlen.py's, else its own choice."""
    evaluations: int = Field(4, ge=1)
    """How often the validation loss is measured (and a checkpoint kept) over the whole training."""
    best: Literal["loss", "skill", "last"] = "loss"
    """Which checkpoint is kept: lowest validation loss, highest skill in rollouts of validation students, the last."""
    patience: int | None = Field(None, ge=1)
    """Stop after this many validations without a lower loss."""
    copied_lines: float = Field(1.0, ge=0, le=1)
    """Share of the lines taken over from the previous submission that carry loss, drawn by a seeded hash."""
    gradient_checkpointing: bool | Literal["auto"] = "auto"
    """auto: only where the memory plan says that training would not fit otherwise."""
    limit: int | None = Field(None, ge=1)
    """Train on only this many trajectories, drawn by a seeded hash, and validate on a quarter as many."""
    trainer: dict[str, Any] = Field(default_factory=dict)
    """Further fields of TRL's SFTConfig, passed on verbatim."""

    _divides = field_validator("micro_batch_size")(_whole_batches)

    @model_validator(mode="after")
    def _rolled_out_as_adapters(self) -> SftSection:
        if self.lora is None and self.best == "skill":
            raise ValueError("best: skill rolls adapters out, and without lora there are none; set best: loss or last")
        return self

    @model_validator(mode="after")
    def _rows_without_a_mask(self) -> SftSection:
        if self.attention == "simstudent_varlen" and (not self.packing or self.backend == "unsloth"):
            raise ValueError("attention: simstudent_varlen is for packed rows of the plain backend; set packing: true")
        return self


class StudentsSection(Section):
    """A vector per student in front of the sequence, trained together with the adapter (training/students.py)."""

    kind: Literal["none", "table", "bottleneck"] = "none"
    """table: a free vector each; bottleneck: ``dim`` numbers each, through a ReLU and one matrix."""
    dim: int = Field(64, ge=1)
    """Bottleneck: numbers of each student."""
    spread: float | None = Field(None, ge=0)
    """Standard deviation of the students' own numbers at the start; default: 0 for a table, 1 for a bottleneck."""
    learning_rate: float = Field(0.01, gt=0)
    """The size of a student's first update, per number; it follows sft.schedule."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """How often in training a sequence stands without its student, so that the model knows what to do for others."""

    @model_validator(mode="after")
    def _begins(self) -> StudentsSection:
        if self.kind == "bottleneck" and self.spread == 0:
            raise ValueError("a bottleneck that begins at 0 never moves (its ReLU has no gradient); leave spread out")
        return self


class DpoSection(Section):
    """Direct preference optimisation, from the SFT adapter, which is also its reference (section 4, DPO)."""

    backend: Backend = "plain"
    """As for sft; an adapter of either is trained on by either."""
    pairs: dict[PairMode, float] = Field(default={"grade": 1.0})
    """Share of the prefixes that each mode makes a pair of; shares may add up to more than 1."""
    first: int = Field(1, ge=0)
    """The least number of submissions in the context: 1, or 0 for the first submission as well."""
    beta: float = Field(0.5, gt=0)
    learning_rate: float = Field(1e-5, gt=0)
    schedule: Schedule = "cosine"
    warmup: float = Field(0.1, ge=0, lt=1)
    epochs: float = Field(1.0, gt=0)
    batch_size: int = Field(16, ge=1)
    """Pairs per optimiser step."""
    micro_batch_size: int = Field(1, ge=1)
    reference: Literal["adapter", "precomputed"] = "precomputed"
    """The SFT policy's log-probabilities: computed once ahead, or in each step by a copy of the adapter."""
    evaluations: int = Field(4, ge=1)
    gradient_checkpointing: bool | Literal["auto"] = "auto"
    limit: int | None = Field(None, ge=1)
    """Only this many pairs, drawn by a seeded hash, and a quarter as many for validation."""
    trainer: dict[str, Any] = Field(default_factory=dict)
    """Further fields of TRL's DPOConfig, passed on verbatim."""

    _divides = field_validator("micro_batch_size")(_whole_batches)

    @field_validator("pairs")
    @classmethod
    def _some(cls, value: dict[PairMode, float]) -> dict[PairMode, float]:
        if not value or any(not 0 < share <= 1 for share in value.values()):
            raise ValueError("each mode needs a share in (0, 1], such as {grade: 1.0, repeat: 0.5}")
        return value


class DapoSection(Section):
    """Reinforcement learning from graded completions, from the SFT adapter (section 4, DAPO)."""

    rewards: dict[str, float] = Field(default={"tiered": 1.0})
    """Weights of rewards: tiered, grade, ast, compile, tests, similarity, change; or ``package.module:function``."""
    generations: int = Field(4, ge=2)
    """Completions per prompt (the paper's G)."""
    positions: int = Field(2, ge=1)
    """Prompts per trajectory, drawn by a seeded hash."""
    temperature: float = Field(1.0, gt=0)
    top_p: float = Field(0.95, gt=0, le=1)
    learning_rate: float = Field(1e-5, gt=0)
    schedule: Schedule = "constant"
    warmup: float = Field(0.0, ge=0, lt=1)
    epochs: float = Field(1.0, gt=0)
    batch_size: int = Field(16, ge=1)
    """Prompts per optimiser step."""
    micro_batch_size: int = Field(4, ge=1)
    """Completions per forward pass; batch_size x generations must be a multiple of it."""
    epsilon: float = Field(0.2, gt=0)
    epsilon_high: float = Field(0.28, gt=0)
    beta: float = Field(0.0, ge=0)
    filter: bool = True
    """Sample every prompt once before training and leave out those whose rewards do not vary."""
    vllm: Literal["auto", "colocate", "off"] = "auto"
    """Who writes the completions: vLLM on the same GPU, or transformers. auto: vLLM where it and a GPU are there."""
    vllm_memory: float = Field(0.3, gt=0, lt=1)
    """vLLM's share of the GPU's memory."""
    merge_quantized: bool = False
    """Allow vLLM beside an NF4 base, although the adapter is then merged into 4-bit weights at each step, with loss."""
    checkpoints: int = Field(2, ge=1)
    gradient_checkpointing: bool | Literal["auto"] = "auto"
    limit: int | None = Field(None, ge=1)
    """Only this many prompts, drawn by a seeded hash."""
    trainer: dict[str, Any] = Field(default_factory=dict)
    """Further fields of TRL's GRPOConfig, passed on verbatim."""

    @field_validator("rewards")
    @classmethod
    def _known(cls, value: dict[str, float]) -> dict[str, float]:
        from simstudent.training.rewards import check_name

        if not value:
            raise ValueError("at least one reward is needed, such as {tiered: 1.0}")
        for name in value:
            check_name(name)
        return value

    @field_validator("micro_batch_size")
    @classmethod
    def _divides(cls, value: int, info: ValidationInfo) -> int:
        data = info.data
        total = data.get("batch_size", value) * data.get("generations", 1)
        if total % value:
            raise ValueError(f"batch_size x generations ({total}) is not a multiple of micro_batch_size ({value})")
        return value
