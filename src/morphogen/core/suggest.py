"""Did you mean: the known names nearest to one that is unknown, by what other programs call it and by spelling."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

# What other programs call a setting or a verb, and what it is called here; only names that are known are suggested.
_ELSEWHERE = {
    "out": "output output_dir output_path out_dir outdir o save save_dir save_path dest destination",
    "family": "model model_type model_name arch architecture method algorithm",
    "minutes": "epochs epoch n_epochs num_epochs max_epochs time time_limit max_time duration hours seconds budget",
    "train.steps": "epochs epoch n_epochs num_epochs max_epochs iterations iters n_iter num_iterations max_iter "
    "max_steps num_steps train_steps training_steps num_train_steps",
    "train.lr": "learning_rate lr",
    "train.batch": "batch_size bs batchsize train_batch_size",
    "batch": "batch_size bs batchsize eval_batch_size",
    "train.precision": "dtype fp16 bf16 fp32 half amp mixed_precision",
    "train.optimizer": "optim opt",
    "train.clip": "grad_clip clip_grad max_grad_norm gradient_clipping gradient_clip_val",
    "train.grad_accumulation": "gradient_accumulation_steps accumulate accum_steps accumulate_grad_batches",
    "train.ema_half_life": "ema ema_decay ema_rate",
    "train.warm_up": "warmup warmup_steps warmup_ratio",
    "train.save_seconds": "save_every save_steps checkpoint_every save_interval",
    "train.seed": "random_state random_seed",
    "seed": "random_state random_seed generator",
    "n": "n_samples num_samples nsamples samples count num number num_images n_rows num_rows rows",
    "count": "n n_samples num_samples nsamples samples num number num_images n_rows num_rows rows",
    "condition": "label labels class classes class_cond class_labels cond conditional conditions where y",
    "recipe": "config config_file settings toml yaml",
    "resume": "continue restart checkpoint from_checkpoint resume_from ckpt",
    "autoencoder": "ae encoder first_stage through",
    "super_resolution": "upscale sr enlarge scale_factor",
    "codec.size": "size image_size img_size resolution",
    "codec.tokenizer": "tokenizer_type encoding",
    "codec.vocab": "vocab_size n_vocab",
    "codec.context": "block_size seq_len seq_length sequence_length context_length max_seq_length",
    "options.width": "dim hidden hidden_dim hidden_size d_model n_embd channels base_channels embed_dim",
    "options.layers": "n_layer n_layers num_layers depth num_hidden_layers",
    "options.blocks": "depth num_res_blocks res_blocks",
    "quick": "fast brief short",
    "steps": "num_inference_steps sampling_steps n_steps num_steps timesteps nfe",
    "solver": "sampler scheduler",
    "guidance": "cfg cfg_scale guidance_scale cond_scale",
    "temperature": "temp t tau",
    "top_p": "nucleus",
    "max_length": "max_tokens max_new_tokens num_tokens n_tokens max_len length",
    "min_length": "min_tokens min_new_tokens min_len",
    "prompt": "prefix start beginning",
    "stop": "stop_strings stop_sequences eos until",
    "json_schema": "schema json",
    "imputations": "draws m n_imputations num_imputations",
    "data": "test test_data real eval_data holdout",
    "fit": "train learn run",
    "sample": "generate gen create synthesize synthesise draw",
    "impute": "fill inpaint infill complete",
    "evaluate": "eval test validate judge score report",
    "inspect": "info describe show look schema",
    "replay": "repeat rerun reproduce verify",
}
_DEVICE = (
    "a CUDA GPU is used where PyTorch finds one, else the CPU; the environment variable CUDA_VISIBLE_DEVICES=1 chooses "
    "the second GPU, and CUDA_VISIBLE_DEVICES=-1 the CPU"
)
_DEVICES = (
    "each process uses one CUDA GPU, where PyTorch finds any; torchrun --nproc-per-node 2 -m morphogen … uses two"
)
# What other programs set, and here is no setting: what decides it instead.
_DECIDED = {
    _DEVICE: "device gpu cuda cpu gpu_id gpu_ids device_id use_gpu use_cuda no_gpu no_cuda use_cpu mps accelerator",
    _DEVICES: "gpus devices num_gpus n_gpus ngpus n_gpu num_devices n_devices num_processes nproc_per_node multi_gpu "
    "world_size",
}
_LIKE, _LIKE_LAST = 0.5, 0.75  # least similarity of whole names, and of their parts after the last dot
_MOST = 2


def suggest(name: str, known: Iterable[str]) -> list[str]:
    """Return at most two of the known names that are probably meant; dashes and underscores are alike."""
    whole = {_normal(one): one for one in sorted(known)}
    wanted = _normal(name)
    if wanted in whole:
        return [whole[wanted]]
    renamed = [whole[here] for here, names in _ELSEWHERE.items() if here in whole and wanted in names.split()]
    same_end = [one for normal, one in whole.items() if _end(normal) == _end(wanted)]
    if renamed or same_end:
        return (renamed or same_end)[:_MOST]
    scores = {normal: _score(wanted, normal) for normal in whole}
    best = max(scores, key=scores.__getitem__, default="")
    return [whole[best]] if scores.get(best) else []


def decided_by(name: str) -> str | None:
    """Return what decides a thing that other programs have a setting of this name for; None: none is known."""
    wanted = _end(_normal(name))
    return next((answer for answer, names in _DECIDED.items() if wanted in names.split()), None)


def _normal(name: str) -> str:
    return name.lstrip("-").replace("-", "_").lower()


def _end(name: str) -> str:
    return name.rpartition(".")[2]


def _score(wanted: str, known: str) -> float:
    """Return how alike two names are; 0: not alike enough."""
    if set(_end(wanted).split("_")) <= set(_end(known).split("_")):
        return 1.0
    whole = difflib.SequenceMatcher(None, known, wanted).ratio()
    last = difflib.SequenceMatcher(None, _end(known), _end(wanted)).ratio()
    return max(whole if whole >= _LIKE else 0.0, last if last >= _LIKE_LAST else 0.0)
