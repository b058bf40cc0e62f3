"""The sections of an option file, each option described once, where it is typed."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt, field_validator
from pydantic_core import PydanticCustomError

from vqcnir_arch.training.run_folder import name_problem

Block = dict[str, Any]
"""A block with a `type`; what else it may hold is that class's own signature."""


class Section(BaseModel):
    """A section of the option file. Keys that are neither fields nor match `more` are refused."""

    model_config = ConfigDict(extra="allow")
    more: ClassVar[str] = r"(?!)"


class PathSection(Section):
    """`path:`"""

    more = r"(pretrain_network|strict_load|param_key)_\w+"
    pretrain_network_g: str | None = Field(
        None, description="checkpoint that network_g starts from, ours or published; default: that of network_g: from"
    )
    pretrain_network_d: str | None = Field(None, description="checkpoint that network_d starts from")
    strict_load_g: bool = Field(True, description="every tensor of the network must be in the file, and no other")
    strict_load_d: bool = Field(True, description="the same for network_d")
    param_key_g: str | None = Field("params", description="wrapper in the file: params or params_ema")
    param_key_d: str | None = Field("params", description="the same for network_d")
    resume_state: str | None = Field(None, description="training state (.state) to resume from")


class TrainSection(Section):
    """`train:`; every loss is a block of its own and is off when the block is missing."""

    more = r"\w+_opt"
    total_iter: PositiveInt = Field(description="iterations to train")
    optim_g: Block = Field(description="optimiser of network_g: type (any of torch.optim), lr, betas, ...")
    optim_d: Block | None = Field(None, description="optimiser of network_d")
    scheduler: Block = Field(description="learning rate schedule: MultiStepLR or CosineAnnealingRestartLR")
    warmup_iter: int = Field(-1, description="iterations of linear warm-up, -1 for none")
    ema_decay: float = Field(0, ge=0, lt=1, description="decay of the averaged copy of network_g, 0 for none")
    net_d_iters: PositiveInt = Field(1, description="network_g is updated every so many iterations")
    net_d_init_iters: NonNegativeInt = Field(0, description="iterations in which network_d trains alone")
    gan_start_iter: NonNegativeInt = Field(
        0, description="iterations before the GAN begins: until then neither its loss nor network_d trains"
    )
    adaptive_gan_weight: PositiveFloat | None = Field(
        None,
        description="multiply network_g's GAN loss by the ratio of the image losses' gradient to its own at the last "
        "layer, at most by this (CodeFormer 1, DAEFR 10000); ~ for never",
    )
    fidelity_schedule: list[dict[str, Any]] | None = Field(
        None,
        description="CodeFormer's stage III, phases in order: {until: iteration, w: fidelity weight, image_every: n}; "
        "every n-th iteration restores lq, the others train the codes on lq_large alone (n = 0: all of them)",
    )
    restart_unused_codes: NonNegativeInt = Field(
        0, description="stage I: every so many iterations restart codes that nothing chose since, 0 for never (ours)"
    )
    grad_clip: PositiveFloat | None = Field(None, description="largest norm of a network's gradient, ~ for any")
    max_skipped_steps: PositiveInt = Field(
        20, description="the run ends when so many steps in a row have a non-finite loss or gradient"
    )
    amp: Literal["none", "bf16", "fp16"] = Field(
        "none",
        description="precision of forward passes and losses: float32, bfloat16, or on a GPU float16 with loss "
        "scaling (an overflow is a skipped step); the code search stays in float32",
    )
    channels_last: bool = Field(False, description="memory format of the networks and images, for tensor cores")
    compile: bool = Field(False, description="torch.compile of network_g; the first iterations take minutes")
    grad_accumulation: PositiveInt = Field(
        1, description="split each batch into so many micro-batches, one optimiser step for all: less memory"
    )
    checkpoint_blocks: bool = Field(
        False, description="compute the big blocks of network_g again in the backward pass: less memory, more time"
    )
    pixel_opt: Block | None = Field(None, description="pixel loss, e.g. L1Loss")
    ssim_opt: Block | None = Field(None, description="SSIMLoss")
    perceptual_opt: Block | None = Field(None, description="VGG19PerceptualLoss, VGG16PerceptualLoss or LPIPSLoss")
    gan_opt: Block | None = Field(None, description="GANLoss")


class ValSection(Section):
    """`val:`"""

    val_freq: PositiveInt | None = Field(None, description="validate every so many iterations (training only)")
    save_img: bool = Field(description="write the restored images")
    suffix: str | None = Field(None, description="added to the names of test images")
    save_float: bool = Field(
        False,
        description="write the output also as .npy, [height, width, 3] RGB float32, not clamped (protocol darkir)",
    )
    pbar: bool = Field(False, description="show a progress bar")
    key_metric: str | None = Field(
        None, description="metric whose best value on the first val set decides net_g_best.pth; default: the first"
    )
    metrics: dict[str, Block] | None = Field(None, description="name: {type: calculate_psnr | ..., options}")


class LoggerSection(Section):
    """`logger:`"""

    print_freq: PositiveInt = Field(description="log every so many iterations")
    save_checkpoint_freq: PositiveInt = Field(description="save networks and training state every so many iterations")
    keep_last: PositiveInt | None = Field(
        None, description="keep so many checkpoints, the newest, beside the best and the latest; ~ for all"
    )
    checkpoint_format: Literal["pth", "safetensors"] = Field(
        "pth", description="file format of the networks; the training state stays one of torch.save"
    )
    use_tb_logger: bool = Field(description="write TensorBoard files")
    wandb: dict[str, Any] | None = Field(None, description="project and resume_id of Weights & Biases")


class Experiment(Section):
    """The whole option file."""

    more = r"network_\w+"
    name: str = Field(min_length=1, description="name of the experiment and of its folder; `night/first run` is two")
    model_type: str = Field(description="VQPriorModel, VQRestorationModel, VQAssociationModel, or a model of BasicSR")
    scale: PositiveInt = Field(1, description="size of the output over size of the input")
    num_gpu: NonNegativeInt | Literal["auto"] = Field(description="0 for the CPU, auto for all GPUs there are")
    manual_seed: int | None = Field(None, description="random seed")
    datasets: dict[str, Block] = Field(description="train, val or val_*, and test_*")
    network_g: Block = Field(
        description="the network: {type: ..., options}, or {from: CHECKPOINT} as a checkpoint has it; beside `from` "
        "stand only options that say nothing about the tensors (padding, prior, ...)"
    )
    network_d: Block | None = Field(None, description="the discriminator")
    path: PathSection = Field(description="checkpoints to start from")
    train: TrainSection | None = Field(None, description="losses, optimisers, length")
    val: ValSection | None = Field(None, description="validation and test")
    logger: LoggerSection | None = Field(None, description="how often to print and to save")
    dist_params: dict[str, Any] | None = Field(None, description="backend and port for --launcher slurm")
    find_unused_parameters: bool = Field(False, description="handed to DistributedDataParallel")

    @field_validator("name")
    @classmethod
    def stays_below(cls, name: str) -> str:
        """Refuse a name whose folder would not lie below `experiments/`."""
        problem = name_problem(name)
        if problem:
            raise PydanticCustomError("name", problem)
        return name
