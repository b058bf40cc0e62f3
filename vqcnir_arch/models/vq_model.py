"""What the models of all stages share: building, optimising with or without a discriminator, validating, logging."""

from __future__ import annotations

from collections import OrderedDict

import torch
from basicsr.archs import build_network
from basicsr.losses import build_loss
from basicsr.models.sr_model import SRModel
from basicsr.utils import get_root_logger
from torch import Tensor, nn

from vqcnir_arch.archs import Codes, MergedCodes, find_quantizers
from vqcnir_arch.archs.loading import load_into
from vqcnir_arch.archs.parameters import parameter_counts, parameter_lines
from vqcnir_arch.errors import UserError
from vqcnir_arch.models.code_usage import CodeUsage
from vqcnir_arch.models.fitting import Fitting
from vqcnir_arch.models.speed import SpeedSwitches, mean_of
from vqcnir_arch.models.validation import Validation
from vqcnir_arch.tensor_files import read_state_dict
from vqcnir_arch.training import SafeTraining


class VQModel(Fitting, SpeedSwitches, SafeTraining, Validation, SRModel):
    """Trains a network with a codebook on BasicSR's loop; subclasses say what the generator's losses are.

    Every loss is there when its block stands in `train:`. With a `gan_opt` there is a discriminator `network_d`.
    """

    batch_names: tuple[str, ...] = ("lq", "gt")
    """Attributes that hold the batch, and are split into micro-batches."""
    with_image, with_gan = True, False
    """What the running iteration computes, see `begin_iteration`."""

    # --- building ----------------------------------------------------------------------------------------------------

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
        self.gan_start_iter = train_opt.get("gan_start_iter", 0)
        self.adaptive_gan_weight = train_opt.get("adaptive_gan_weight")

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

    def generator_forward(self) -> tuple[Tensor, Codes | MergedCodes, OrderedDict[str, Tensor]]:
        """Run the generator on the batch; return image, codes and the losses that are the subclass's own."""
        raise NotImplementedError

    def begin_iteration(self, current_iter: int) -> None:
        """Decide what an iteration computes: images or codes alone, with or without the GAN."""
        self.with_image = True
        self.with_gan = "gan_opt" in self.losses and current_iter > self.gan_start_iter

    def optimize_parameters(self, current_iter: int) -> None:
        self.begin_iteration(current_iter)
        updates_g = current_iter % self.net_d_iters == 0 and current_iter > self.net_d_init_iters
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        with self.compile_errors():
            losses = self.generator_losses(updates_g)
        if self.with_gan:
            losses.update(self.discriminator_losses())
        self.log_dict = self.reduce_loss_dict(losses)
        stepping = [self.optimizer_g] if updates_g else []
        if self.with_gan:
            stepping.append(self.optimizer_d)
        if self.step(losses, *stepping) and self.ema_decay > 0:
            self.model_ema(decay=self.ema_decay)

    def generator_losses(self, updates_g: bool) -> dict[str, Tensor]:
        """Compute the generator's losses and, if it is updated, add their gradients; keep its output."""
        if self.with_gan:
            self.net_d.requires_grad_(False)
        parts, outputs = [], []
        for _ in self.micro_batches(*self.batch_names):
            with self.autocast():
                output, codes, losses = self.generator_forward()
                if self.with_image:
                    self.output = output.float()
                    outputs.append(self.output.detach())
                    if updates_g:
                        losses.update(self.losses_of_image())
            for usage, of_codebook in zip(self.code_usage.values(), codes.per_codebook, strict=True):
                if of_codebook.indices is not None:
                    usage.add(of_codebook.indices)
            if updates_g:
                self.backward(sum(losses.values()))
            parts.append({name: loss.detach() for name, loss in losses.items()})
        if self.with_image:
            self.output = torch.cat(outputs)
        return mean_of(parts)

    def losses_of_image(self) -> dict[str, Tensor]:
        """Return the losses of the restored images."""
        layer = self.get_bare_model(self.net_g).adaptive_layer() if self.adaptive_gan_weight else None
        return self.losses_between(self.output, self.gt, getattr(self, "net_d", None), layer)

    def losses_between(
        self, output: Tensor, target: Tensor, net_d: nn.Module | None, layer: nn.Conv2d | None
    ) -> dict[str, Tensor]:
        """Compare images with their targets, and let the discriminator judge them; `layer` is for the adaptive weight.

        BasicSR's PerceptualLoss gives (perceptual, style), either may be None.
        """
        found = {}
        for block, name in (("pixel_opt", "l_pix"), ("ssim_opt", "l_ssim"), ("perceptual_opt", "l_percep")):
            if block in self.losses:
                loss = self.losses[block](output, target)
                found[name] = sum(part for part in loss if part is not None) if isinstance(loss, tuple) else loss
        if self.with_gan:
            loss = self.losses["gan_opt"](net_d(output).float(), True, is_disc=False)
            if self.adaptive_gan_weight:
                unweighted = loss / self.losses["gan_opt"].loss_weight
                loss = loss * gradient_ratio(sum(found.values()), unweighted, layer.weight, self.adaptive_gan_weight)
            found["l_g_gan"] = loss
        return found

    def discriminator_losses(self) -> dict[str, Tensor]:
        """Hinge (or other) loss on real, then on restored images; their gradients are added."""
        self.net_d.requires_grad_(True)
        found = {}
        for name, images, is_real in (("real", "gt", True), ("fake", "output", False)):
            parts = []
            for _ in self.micro_batches(images):
                with self.autocast():
                    prediction = self.net_d(getattr(self, images)).float()
                    loss = self.losses["gan_opt"](prediction, is_real, is_disc=True)
                self.backward(loss)
                parts.append({f"l_d_{name}": loss.detach(), f"out_d_{name}": prediction.detach().mean()})
            found.update(mean_of(parts))
        return found

    def model_ema(self, decay: float = 0.999) -> None:
        """Average the parameters; buffers follow as they are (BasicSR leaves them at their first values)."""
        super().model_ema(decay)
        buffers = dict(self.get_bare_model(self.net_g).named_buffers())
        for name, buffer in self.net_g_ema.named_buffers():
            buffer.copy_(buffers[name])

    def get_current_log(self) -> dict[str, float]:
        """What `SafeTraining` logs, and codebook usage and perplexity since the last time the log was asked for."""
        log = dict(super().get_current_log())
        for codebook, usage in self.code_usage.items():
            ending = f"_{codebook}" if len(self.code_usage) > 1 else ""
            log |= {name + ending: value for name, value in usage.read().items()}
        return log

    def save(self, epoch: int, current_iter: int) -> None:
        if hasattr(self, "net_d"):  # first: the training state, which super() writes, must be the last file
            self.save_network(self.net_d, "net_d", current_iter)
        super().save(epoch, current_iter)


def gradient_ratio(others: Tensor, gan: Tensor, weight: Tensor, largest: float) -> Tensor:
    """Return ‖∇ others‖ / ‖∇ gan‖ at a layer's weight, at most `largest`: VQGAN's adaptive weight of the GAN loss."""
    of_others, of_gan = (torch.autograd.grad(loss, weight, retain_graph=True)[0] for loss in (others, gan))
    return (of_others.norm() / (of_gan.norm() + 1e-4)).clamp(0, largest).detach()
