"""What the models of all stages share: building, optimising with or without a discriminator, validating, logging."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from basicsr.archs import build_network
from basicsr.losses import build_loss
from basicsr.models.sr_model import SRModel
from basicsr.utils import get_root_logger
from torch import Tensor, nn
from torch.utils.data import DataLoader

from vqcnir_arch.archs import Codes, MergedCodes, find_quantizers
from vqcnir_arch.archs.loading import load_into
from vqcnir_arch.archs.network import VQNetwork
from vqcnir_arch.archs.parameters import parameter_counts, parameter_lines
from vqcnir_arch.errors import UserError
from vqcnir_arch.models.accumulation import Accumulation, mean_of
from vqcnir_arch.models.activation_checkpointing import checkpoint_blocks
from vqcnir_arch.models.batch import Batch
from vqcnir_arch.models.code_usage import CodeUsage
from vqcnir_arch.models.compilation import Compilation
from vqcnir_arch.models.gan import GAN, check_adaptive_layer
from vqcnir_arch.models.option_checks import missing_losses, unfit_network, unknown_losses
from vqcnir_arch.models.precision import Precision
from vqcnir_arch.models.validation import Validation
from vqcnir_arch.options.schema import TrainSection
from vqcnir_arch.tensor_files import read_state_dict
from vqcnir_arch.training.safe_model import SafeTraining


class VQModel(SafeTraining, SRModel):
    """Trains a network with a codebook on BasicSR's loop; subclasses say what the generator's losses are.

    Every loss is there when its block stands in `train:`. With a `gan_opt` there is a discriminator `network_d`.

    Attributes:
        validator: restores, measures and saves images: whole, in float32, uncompiled.
        compilation, precision, accumulation: the switches of `train:`; the last two are there in training alone.
        step_guard: says whether a step is taken.
        losses: by their block.
        code_usage: what is counted of each codebook for the log.
        lq, gt, output: BasicSR's; the whole batch and the images that came of it. A training step computes with the
            `Batch` that it hands on.
        with_image, with_gan: what the running iteration computes, see `begin_iteration`.
    """

    has_speed_switches = True
    image_losses: tuple[str, ...] = ("pixel_opt", "ssim_opt", "perceptual_opt", "gan_opt")
    own_losses: tuple[str, ...] = ()
    """Loss blocks of the subclass, beside those on the image."""
    trains_prior = False
    net_d: nn.Module | None = None
    gan: GAN | None = None
    with_image, with_gan = True, False

    # --- what fits ---------------------------------------------------------------------------------------------------

    @classmethod
    def contradictions(cls, options: dict[str, Any]) -> list[str]:
        """Return what in an option file for training makes no sense for this model, one line each."""
        train = options["train"]
        found = unknown_losses(cls.__name__, (*cls.image_losses, *cls.own_losses), train) + cls.unfit_network(options)
        if train.get("restart_unused_codes") and not cls.trains_prior:
            found.append(f"train: restart_unused_codes: {cls.__name__} trains no codebook, only stage I does")
        return found + missing_losses(options)

    @classmethod
    def unfit_network(cls, options: dict[str, Any]) -> list[str]:
        """Return why this model cannot train the network of an option file, if it cannot; unknown names aside."""
        return unfit_network(cls.__name__, cls.trains_prior, options)

    # --- building ----------------------------------------------------------------------------------------------------

    def __init__(self, opt: dict[str, Any]) -> None:
        self.compilation = Compilation(switch(opt, "compile"))
        self.validator = Validation(opt)
        super().__init__(opt)

    @property
    def memory_format(self) -> torch.memory_format:
        return torch.channels_last if switch(self.opt, "channels_last") else torch.preserve_format

    def model_to_device(self, net: nn.Module) -> nn.Module:
        """Prepare a network before DDP wraps it, whose buckets keep the memory format that they first see."""
        net = net.to(memory_format=self.memory_format)
        if isinstance(net, VQNetwork):
            if switch(self.opt, "checkpoint_blocks"):
                checkpoint_blocks(net)
            self.compilation.compile(net)
        return super().model_to_device(net)

    def init_training_settings(self) -> None:
        contradictions = self.contradictions(self.opt)
        if contradictions:
            raise UserError("\n".join(contradictions))
        train_opt = self.opt["train"]
        logger = get_root_logger()
        self.net_g.train()
        self.ema_decay = train_opt.get("ema_decay", 0)
        if self.ema_decay > 0:
            logger.info(f"Use Exponential Moving Average with decay: {self.ema_decay}")
            self.net_g_ema = build_network(self.opt["network_g"]).to(self.device)
            self.model_ema(0)
            load_path = self.opt["path"].get("pretrain_network_g")
            if load_path is not None:
                self.load_network(self.net_g_ema, load_path, self.opt["path"].get("strict_load_g", True), "params_ema")
            self.net_g_ema.eval()

        self.losses = nn.ModuleDict()
        for block in (*self.image_losses, *self.own_losses):
            if train_opt.get(block):
                self.losses[block] = build_loss(train_opt[block]).to(self.device)
        if "gan_opt" in self.losses:
            self.build_discriminator()
        self.net_d_iters = train_opt.get("net_d_iters", 1)
        self.net_d_init_iters = train_opt.get("net_d_init_iters", 0)

        self.precision = Precision(switch(self.opt, "amp"), self.device)
        networks = [net for net in (self.net_g, self.net_d) if net is not None]
        self.accumulation = Accumulation(switch(self.opt, "grad_accumulation"), self.memory_format, networks)
        if self.net_d is not None:
            start, largest = train_opt.get("gan_start_iter", 0), train_opt.get("adaptive_gan_weight")
            if largest:
                for net in self.judged_networks():
                    check_adaptive_layer(net)
            loss = self.losses["gan_opt"]
            self.gan = GAN(loss, self.net_d, start, largest, self.precision, self.accumulation)
        self.resumable = {"scaler": self.precision}
        self.setup_optimizers()
        self.setup_schedulers()
        quantizers = find_quantizers(self.get_bare_model(self.net_g))
        self.code_usage = {name: CodeUsage(q.codebook.shape[0]) for name, q in quantizers.items()}
        self.log_what_trains()

    def build_discriminator(self) -> None:
        self.net_d = self.model_to_device(self.new_discriminator())
        self.print_network(self.net_d)
        path = self.opt["path"]
        if path.get("pretrain_network_d") is not None:
            strict, key = path.get("strict_load_d", True), path.get("param_key_d", "params")
            self.load_network(self.net_d, path["pretrain_network_d"], strict, key)
        self.net_d.train()

    def new_discriminator(self) -> nn.Module:
        return build_network(self.opt["network_d"])

    def setup_optimizers(self) -> None:
        train_opt = self.opt["train"]
        networks = {"g": self.net_g, "d": self.net_d} if "gan_opt" in self.losses else {"g": self.net_g}
        for label, net in networks.items():
            options = dict(train_opt[f"optim_{label}"])
            parameters = [p for p in net.parameters() if p.requires_grad]
            optimizer = self.get_optimizer(options.pop("type"), parameters, **options)
            setattr(self, f"optimizer_{label}", optimizer)
            self.optimizers.append(optimizer)

    def log_what_trains(self) -> None:
        """Write to the log, part by part, what trains and what does not, with parameter counts."""
        net = self.get_bare_model(self.net_g)
        lines = [f"{type(net).__name__}: what trains", *parameter_lines(parameter_counts(net))]
        get_root_logger().info("\n\t".join(lines))

    def load_network(self, net: nn.Module, load_path: str, strict: bool = True, param_key: str = "params") -> None:
        """Load a published or own checkpoint through the library's one reader."""
        get_root_logger().info(f"Loading {type(self.get_bare_model(net)).__name__} from {load_path}")
        tensors = read_state_dict(load_path, param_key)
        load_into(self.get_bare_model(net), tensors, f"checkpoint '{load_path}'", strict)

    # --- optimising --------------------------------------------------------------------------------------------------

    def batch(self) -> Batch:
        """Return what the iteration trains on."""
        return Batch(self.lq, self.gt)

    def generator_forward(self, batch: Batch) -> tuple[Tensor | None, Codes | MergedCodes, OrderedDict[str, Tensor]]:
        """Run the generator on a micro-batch; return image, codes and the losses that are the subclass's own."""
        raise NotImplementedError

    def begin_iteration(self, current_iter: int) -> None:
        """Decide what an iteration computes: images or codes alone, with or without the GAN."""
        self.with_image = True
        self.with_gan = self.gan is not None and current_iter > self.gan.start

    def optimize_parameters(self, current_iter: int) -> None:
        self.begin_iteration(current_iter)
        batch = self.batch()
        updates_g = current_iter % self.net_d_iters == 0 and current_iter > self.net_d_init_iters
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        with self.compilation.one_line_errors():
            losses = self.generator_losses(batch, updates_g)
        if self.with_gan:
            losses.update(self.gan.discriminator_losses(self.real_images(batch), self.output))
        self.log_dict = self.reduce_loss_dict(losses)
        stepping = [self.optimizer_g] if updates_g else []
        if self.with_gan:
            stepping.append(self.optimizer_d)
        stepped = self.precision.step(stepping, lambda: self.may_step(losses, *stepping))
        if stepped and self.ema_decay > 0:
            self.model_ema(decay=self.ema_decay)

    def generator_losses(self, batch: Batch, updates_g: bool) -> dict[str, Tensor]:
        """Compute the generator's losses and, if it is updated, add their gradients; `self.output` is its images."""
        if self.with_gan:
            self.net_d.requires_grad_(False)
        parts, outputs = [], []
        for tensors in self.accumulation.split(*batch):
            micro_batch = batch._make(tensors)
            with self.precision.autocast():
                output, codes, losses = self.generator_forward(micro_batch)
                if self.with_image:
                    output = output.float()
                    outputs.append(output.detach())
                    if updates_g:
                        losses.update(self.losses_of_image(output, micro_batch))
            for usage, of_codebook in zip(self.code_usage.values(), codes.per_codebook, strict=True):
                if of_codebook.indices is not None:
                    usage.add(of_codebook.indices)
            if updates_g:
                self.precision.backward(self.accumulation.share(sum(losses.values())))
            parts.append({name: loss.detach() for name, loss in losses.items()})
        if self.with_image:
            self.output = torch.cat(outputs)
        return mean_of(parts)

    def losses_of_image(self, output: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Return the losses of the restored images of a micro-batch."""
        return self.losses_between(output, batch.gt, self.net_d, self.get_bare_model(self.net_g))

    def losses_between(
        self, output: Tensor, target: Tensor, judge: nn.Module | None, net: VQNetwork
    ) -> dict[str, Tensor]:
        """Compare the images that a network made with their targets, and let the discriminator judge them.

        BasicSR's PerceptualLoss gives (perceptual, style), either may be None.
        """
        found = {}
        for block, name in (("pixel_opt", "l_pix"), ("ssim_opt", "l_ssim"), ("perceptual_opt", "l_percep")):
            if block in self.losses:
                loss = self.losses[block](output, target)
                found[name] = sum(part for part in loss if part is not None) if isinstance(loss, tuple) else loss
        if self.with_gan:
            found["l_g_gan"] = self.gan.generator_loss(output, judge, found.values(), net)
        return found

    def judged_networks(self) -> list[VQNetwork]:
        """Return the networks whose images the discriminator judges."""
        return [self.get_bare_model(self.net_g)]

    def real_images(self, batch: Batch) -> Tensor:
        """Return what the discriminator compares with `self.output`."""
        return batch.gt

    def model_ema(self, decay: float = 0.999) -> None:
        """Average the parameters; buffers follow as they are (BasicSR leaves them at their first values)."""
        super().model_ema(decay)
        buffers = dict(self.get_bare_model(self.net_g).named_buffers())
        for name, buffer in self.net_g_ema.named_buffers():
            buffer.copy_(buffers[name])

    # --- validating, logging, saving ---------------------------------------------------------------------------------

    def nondist_validation(
        self, dataloader: DataLoader, current_iter: int | str, tb_logger: Any, save_img: bool
    ) -> None:
        name = dataloader.dataset.opt["name"]
        results = self.validator.run(self.restored, dataloader, current_iter, save_img)
        if not results:
            return
        self.metric_results = results
        self._initialize_best_metric_results(name)
        for metric, value in results.items():
            self._update_best_metric_result(name, metric, value, current_iter)
        self._log_validation_metric_values(current_iter, name, tb_logger)

    dist_validation = nondist_validation  # the validator knows which images are this process's

    def restored(self, sample: dict[str, Any]) -> Tensor:
        """Restore an image of a validation or test, uncompiled; BasicSR's attributes hold it no longer than that."""
        self.feed_data(sample)
        with self.compilation.paused():
            self.test()
        self.get_bare_model(self.net_g).train(self.is_train)  # BasicSR trains on after a test, too
        output = self.output
        for name in ("lq", "gt", "output"):
            vars(self).pop(name, None)
        return output

    def get_current_log(self) -> dict[str, float]:
        """What `SafeTraining` logs, the GAN's adaptive weight, and how the codes were used since the last call."""
        log = dict(super().get_current_log())
        if self.gan is not None and self.gan.weight is not None:
            log["gan_weight"] = float(self.gan.weight)
        for codebook, usage in self.code_usage.items():
            ending = f"_{codebook}" if len(self.code_usage) > 1 else ""
            log |= {name + ending: value for name, value in usage.read().items()}
        return log

    def save(self, epoch: int, current_iter: int) -> None:
        if self.net_d is not None:  # first: the training state, which super() writes, must be the last file
            self.save_network(self.net_d, "net_d", current_iter)
        super().save(epoch, current_iter)


def switch(opt: dict[str, Any], name: str) -> Any:
    """Return a speed switch of `train:`: its default where it does not stand there, and where nothing trains."""
    train = (opt.get("train") or {}) if opt["is_train"] else {}
    return train.get(name, TrainSection.model_fields[name].default)
