"""The files whose tests are marked `slow`; all others are `fast`: `pytest -m fast` takes no minute and a half."""

from __future__ import annotations

import pytest

# files that train through a launcher, start processes, build networks at their published size, or take about ten
# seconds and more
NAMES = """
    test_ablation_networks test_ablation_options test_ablations test_adacode test_adacode_training test_association
    test_batches test_bench test_bsrgan_draws test_checkpoint_published test_codebook_analysis test_codeformer
    test_checkpoint_format test_comfyui
    test_convert test_cpu_forms test_daefr test_demo test_distributed test_evaluation_after_test
    test_evaluation_command test_evaluation_files test_evaluation_metrics test_examples test_export
    test_face_analysis test_face_options test_face_prior test_fake_cuda test_femasr test_from_checkpoint
    test_further_host test_goldens test_host_options test_hostile_checkpoints test_hostile_images
    test_hosts_distributed test_hosts_sr test_hosts_synthesis test_import test_inspect test_inspect_codebook
    test_kept_results test_launch test_launch_errors test_make_options test_memory test_metrics_log test_model_parts
    test_model_training test_model_validation test_models test_night_blur_recipe test_option_files
    test_option_files_train test_out_of_memory test_peers_faces test_peers_sr test_published_layouts
    test_published_options test_published_options_train test_report test_report_browser test_report_errors
    test_reproduction test_restore test_restore_faces test_restore_kill test_restore_results test_resume
    test_resumed_options test_rows_of_the_papers test_run_folder test_safety test_serve test_serve_browser
    test_serve_work test_sinca_attention test_small test_small_figures test_speed test_storage test_strips
    test_study test_synth test_video test_video_pieces test_watchdog test_wheel
"""
SLOW_FILES = frozenset(NAMES.split())


@pytest.hookimpl(tryfirst=True)  # before pytest picks by marker
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker("slow" if item.path.stem in SLOW_FILES else "fast")
        if item.path.stem.endswith("_browser"):
            item.add_marker("browser")
