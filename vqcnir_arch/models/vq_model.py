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

from vqcnir_arch.archs import Codes
from vqcnir_arch.archs.network import VQNetwork
from vqcnir_arch.archs.parameters import parameter_counts, parameter_lines
from vqcnir_arch.checkpoint import load_into, read_state_dict
from vqcnir_arch.errors import UserError, nearest
from vqcnir_arch.models.code_usage import CodeUsage
from vqcnir_arch.models.speed import SpeedSwitches, mean_of
from vqcnir_arch.models.validation import Validation
from vqcnir_arch.registry import ARCH_REGISTRY, lookup, names
from vqcnir_arch.training import SafeTraining


class VQModel(SpeedSwitches, SafeTraining, Validation, SRModel):
    """Trains a network with a codebook on BasicSR's loop; subclasses say what the generator's losses are.

    Every loss is there when its block stands in `train:`. With a `gan_opt` there is a discriminator `network_d`.
    """

    own_losses: tuple[str, ...] = ()
    """Loss blocks of the subclass, beside `pixel_opt`, `perceptual_opt` and `gan_opt`."""

    trains_prior = False

    # --- building ----------------------------------------------------------------------------------------------------

    @classmethod
    def contradictions(cls, options: dict[str, Any]) -> list[str]:
        """Return what in an option file for training makes no sense for this model, one line each."""
        train, network = options["train"], options["network_g"].get("type")
        losses = [key for key, block in train.items() if key.endswith("_opt") and block]
        known = ("pixel_opt", "perceptual_opt", "gan_opt", *cls.own_losses)
        found = [
            f"train: {cls.__name__} has no loss '{key}'{nearest(key, known)}" for key in losses if key not in known
        ]
        found += cls.unfit_network(network)
        if train.get("restart_unused_codes") and not cls.trains_prior:
            found.append(f"train: restart_unused_codes: {cls.__name__} trains no codebook, only stage I does")
        if not set(losses) - {"gan_opt"}:
            found.append("train: no loss but a GAN's: add at least pixel_opt")
        if "gan_opt" in losses:
            found += [
                f"{name} is missing: train: gan_opt needs it"
                for name, block in (("network_d", options.get("network_d")), ("train: optim_d", train.get("optim_d")))
                if not block
            ]
        return found

    @classmethod
    def unfit_network(cls, name: str | None) -> list[str]:
        """Return why this model cannot train the network of that name, if it cannot; unknown names aside."""
        if name not in names(ARCH_REGISTRY):
            return []
        network = lookup(ARCH_REGISTRY, name)
        if not (isinstance(network, type) and issubclass(network, VQNetwork)):
            return [f"network_g: {cls.__name__} cannot train {name}: it has no codebook"]
        if network.is_prior != cls.trains_prior:
            kind = "a prior (stage I)" if cls.trains_prior else "a restoration network (stage II)"
            return [f"network_g: {cls.__name__} trains {kind}, not a {name}"]
        return []

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
        for block in ("pixel_opt", "perceptual_opt", "gan_opt", *self.own_losses):
            if train_opt.get(block):
                self.losses[block] = build_loss(train_opt[block]).to(self.device)
        if "gan_opt" in self.losses:
            self.build_discriminator()
        self.net_d_iters = train_opt.get("net_d_iters", 1)
        self.net_d_init_iters = train_opt.get("net_d_init_iters", 0)

        self.setup_optimizers()
        self.setup_schedulers()
        self.code_usage = CodeUsage(self.get_bare_model(self.net_g).quantizer.codebook.shape[0])
        self.log_what_trains()

    def build_discriminator(self) -> None:
        self.net_d = self.model_to_device(build_network(self.opt["network_d"]))
        self.print_network(self.net_d)
        path = self.opt["path"]
        if path.get("pretrain_network_d") is not None:
            strict, key = path.get("strict_load_d", True), path.get("param_key_d", "params")
            self.load_network(self.net_d, path["pretrain_network_d"], strict, key)
        self.net_d.train()

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

    def generator_forward(self) -> tuple[Tensor, Codes, OrderedDict[str, Tensor]]:
        """Run the generator on the batch; return image, codes and the losses that are the subclass's own."""
        raise NotImplementedError

    def optimize_parameters(self, current_iter: int) -> None:
        updates_g = current_iter % self.net_d_iters == 0 and current_iter > self.net_d_init_iters
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        with self.compile_errors():
            losses = self.generator_losses(updates_g)
        if "gan_opt" in self.losses:
            losses.update(self.discriminator_losses())
        self.log_dict = self.reduce_loss_dict(losses)
        stepping = [self.optimizer_g] if updates_g else []
        if "gan_opt" in self.losses:
            stepping.append(self.optimizer_d)
        if self.step(losses, *stepping) and self.ema_decay > 0:
            self.model_ema(decay=self.ema_decay)

    def generator_losses(self, updates_g: bool) -> dict[str, Tensor]:
        """Compute the generator's losses and, if it is updated, add their gradients; keep its output."""
        with_gan = "gan_opt" in self.losses
        if with_gan:
            self.net_d.requires_grad_(False)
        parts, outputs = [], []
        for _ in self.micro_batches("lq", "gt"):
            with self.autocast():
                output, codes, losses = self.generator_forward()
                self.output = output.float()
                if updates_g:
                    for block, name in (("pixel_opt", "l_pix"), ("perceptual_opt", "l_percep")):
                        if block in self.losses:
                            losses[name] = self.image_loss(block)
                    if with_gan:
                        prediction = self.net_d(self.output).float()
                        losses["l_g_gan"] = self.losses["gan_opt"](prediction, True, is_disc=False)
            if codes.indices is not None:
                self.code_usage.add(codes.indices)
            if updates_g:
                self.backward(sum(losses.values()))
            parts.append({name: loss.detach() for name, loss in losses.items()})
            outputs.append(self.output.detach())
        self.output = torch.cat(outputs)
        return mean_of(parts)

    def image_loss(self, block: str) -> Tensor:
        """Compare output and ground truth; BasicSR's PerceptualLoss gives (perceptual, style), either may be None."""
        loss = self.losses[block](self.output, self.gt)
        if isinstance(loss, tuple):
            loss = sum(part for part in loss if part is not None)
        return loss

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
        return {**super().get_current_log(), **self.code_usage.read()}

    def save(self, epoch: int, current_iter: int) -> None:
        if hasattr(self, "net_d"):  # first: the training state, which super() writes, must be the last file
            self.save_network(self.net_d, "net_d", current_iter)
        super().save(epoch, current_iter)
