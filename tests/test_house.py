"""The house keeps its promises: public names, one definition a name, rooms that exist."""

import ast
import importlib
import re
from collections import defaultdict

import pytest

from tests.sources import PACKAGES, READERS, ROOT, SOURCES, parsed

pytestmark = READERS
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
MADE = {"benchmarks/out/optimizers/"}
"""Paths on the pages that a command makes."""

PUBLIC = {
    "evolver": {"__version__"},
    "evolver.analysis": {
        "attribution",
        "feature_attribution",
        "success",
        "time_constant",
        "trajectory",
        "tuning",
    },
    "evolver.experiments": {"Experiment", "ExperimentThread", "read_experiments"},
    "evolver.generators": {"BUILTIN", "load"},
    "evolver.optimizers": {
        "BUILTIN",
        "SGD",
        "SNES",
        "Adam",
        "CholeskyCMA",
        "Composite",
        "Genetic",
        "Guided",
        "HessianCMA",
        "RandomSearch",
        "RankSphere",
        "SepCMA",
        "SphereCMA",
        "batched",
        "default_popsize",
        "find",
        "load",
        "state_from_dict",
        "state_to_dict",
    },
    "evolver.recording": {"Recording", "ThreadData", "read"},
    "scorers": {
        "UnitAddress",
        "load",
        "networks",
        "neuron",
        "parse_units",
        "receptive_field",
    },
    "scorers.networks": {"BUILTIN", "LIBRARIES", "load"},
    "scorers.neuron": {
        "AREAS",
        "SETTINGS",
        "Adaptation",
        "NeuronConfig",
        "Neurons",
        "SpikingPopulation",
        "Spread",
        "draw_neurons",
        "site",
    },
}
"""What others may build on, by module. A name that goes from here breaks somebody's script."""

RIG_MODULES = {
    "rig_bridge.auth": {"EngineKeys", "RigKey"},
    "rig_bridge.client": {"Presenter", "RigClient"},
    "rig_bridge.clocks": {"ClockFit"},
    "rig_bridge.server": {"EngineServer"},
    "rig_bridge.rigs.combined": {"CombinedRig"},
    "rig_bridge.rigs.protocols": {"Acquisition", "ImageDisplay"},
    "rig_bridge.rigs.simulated": {"SimulatedRig"},
}
"""What a rig of one's own is written against, beside the wire's messages."""

ARRAY_FUNCTIONS = {
    "alignment": {
        "AlignedSubjects",
        "Hyperalignment",
        "SRM",
        "SubjectMap",
        "inter_subject_correlation",
    },
    "channel_choice": {
        "ChannelTest",
        "ChosenChannels",
        "ChosenDecoder",
        "channel_f_test",
        "decoded_in_folds",
    },
    "axis_tuning": {
        "CurveFit",
        "OneWay",
        "Tuning",
        "one_way",
        "tuning",
    },
    "block_pairs": {
        "BlockSums",
        "LastPair",
        "block_sums",
        "highest_pairs",
        "rows_by_block",
        "t_of_pairs",
    },
    "decoding": {
        "LeastSquares",
        "Ridge",
        "RidgeDecoder",
    },
    "decoding_responses": {
        "Reliability",
        "RepeatMeans",
        "ResponseScale",
        "ScoreStatistics",
        "area_responses",
        "repeat_means",
        "response_scale",
        "split_half_reliability",
    },
    "dense_decoder": {
        "Dense",
        "DenseDecoder",
    },
    "dependent_correlations": {
        "CorrelationMethod",
        "DependentCorrelations",
        "compare_correlations",
        "compare_r",
    },
    "electrode_maps": {
        "ElectrodeLayout",
    },
    "encoding": {
        "KernelRidge",
        "KernelRidgeFit",
        "PenaltyChoice",
        "effective_dof",
        "penalties_of",
    },
    "gaussian_process": {
        "Hyperparameter",
        "NoiseUnits",
        "ProcessFit",
        "course_points",
        "fit_process",
        "smooth_course",
    },
    "image_quality": {
        "FrechetDistance",
        "InceptionScore",
        "frechet_distance",
        "frechet_with_floor",
        "inception_score",
    },
    "image_similarity": {
        "Measure",
        "Prototypes",
        "Similarity",
        "centre_mask",
        "evolution_similarity",
        "feature_cosine",
        "feature_mse",
        "masked_features",
        "masked_image",
        "pixel_correlation",
        "prototypes",
        "structural_similarities",
        "structural_similarity",
        "zoomed_mask",
    },
    "image_statistics": {
        "ImageStatistics",
        "image_statistics",
        "join_statistics",
    },
    "imagery": {
        "ImageryScores",
        "imagery_scores",
    },
    "inverted_glm": {
        "GLMDecoder",
        "InvertedGLM",
    },
    "jackknife": {
        "jackknife_interval",
        "jackknife_share",
    },
    "latencies": {
        "Latencies",
        "centre_of_mass",
        "latencies",
        "latency_threshold",
        "peak_latency",
        "response_latency",
    },
    "latent_directions": {
        "ActivationMap",
        "AttributeScores",
        "GroupAxis",
        "SefaDirections",
        "activation_map",
        "attribute_scores",
        "attribute_shuffle",
        "classified",
        "group_axis",
        "sefa_directions",
        "unit_normals",
    },
    "latent_metrics": {
        "Identification",
        "LatentCorrelation",
        "LatentCosine",
        "LatentMeasure",
        "RandomSets",
        "against_random",
        "columns_r",
        "identification",
        "latent_correlation",
        "latent_cosine",
        "latent_pair",
        "latent_permutation",
        "luminance_correlation",
        "mean_correlation",
        "mean_cosine",
        "mse_similarity",
        "row_correlations",
        "shuffled_identification",
    },
    "latent_spaces": {
        "SpaceComparison",
        "SpaceScores",
        "ToStyles",
        "compare_spaces",
    },
    "latent_walks": {
        "Encode",
        "Walk",
        "arithmetic_walk",
        "interpolation_walk",
        "slerp",
    },
    "layer_assignment": {
        "EncodingScores",
        "LayerAssignment",
        "assign_layers",
        "encoding_scores",
    },
    "linear_decoders": {
        "Decoder",
        "LinearDecoder",
        "same_trials",
    },
    "linear_maps": {
        "DepthTrend",
        "HeldOut",
        "RidgeFit",
        "depth_trend",
        "fit_least_squares",
        "fit_ridge",
        "held_out_r2",
        "random_directions",
        "split_rows",
    },
    "nonnegative_factors": {
        "NonnegativeFactors",
        "nonnegative_factors",
    },
    "pixel_components": {
        "PixelComponents",
        "pixel_components",
    },
    "populations": {
        "BaselineSd",
        "BaselineSteps",
        "PaddedCourses",
        "PopulationError",
        "Validity",
        "baseline_steps",
        "kept_blocks",
        "normaliser",
        "padded_courses",
        "population_mean",
        "validity",
    },
    "psth_differences": {
        "PsthDifference",
        "psth_difference",
    },
    "quantities": {
        "Quantity",
        "check_choice",
        "finite_table",
        "values_of",
        "vector_of",
    },
    "rank_tests": {
        "MeanInterval",
        "RankTest",
        "mean_interval",
        "rank_sum",
        "ranks_of",
        "signed_rank",
    },
    "receptive_fields": {
        "PlaceMap",
        "PlaceShowings",
        "ReceptiveField",
        "SizeTuning",
        "place_map",
        "place_p",
        "receptive_fields",
        "size_tuning",
    },
    "score_agreement": {
        "RankAgreement",
        "angle_between",
        "rank_agreement",
    },
    "site_occlusion": {
        "OccludedBy",
        "RegionScore",
        "SiteScore",
        "occluded",
        "region_scores",
        "site_members",
        "site_occlusion",
    },
    "spatial_attribution": {
        "FeatureAttribution",
        "MapScale",
        "alpha_image",
        "feature_attribution",
        "mask_cosine",
        "mass_inside",
        "soft_iou",
    },
    "success_rates": {
        "CountedShare",
        "ShareInterval",
        "ShareTest",
        "compare_shares",
        "histogram_shares",
        "share",
        "success_rates",
        "wilson_ends",
    },
    "success_tests": {
        "Pairs",
        "Success",
        "SuccessRule",
        "success",
        "success_of_means",
    },
    "t_tests": {
        "Marks",
        "TTest",
        "marks",
        "t_test",
        "t_tests",
    },
    "temporal_attribution": {
        "Attribution",
        "DifferenceError",
        "attribution",
        "compare_attributions",
        "shares_of",
    },
    "thread_tests": {
        "ThreadTest",
        "ThreadTests",
        "compare_thread_means",
        "compare_threads",
    },
    "time_bins": {
        "bin_edges",
        "time_binned",
        "window_mean",
    },
    "time_constants": {
        "ConstantCurve",
        "ConstantStatistic",
        "CourseBase",
        "TimeConstant",
        "time_constant",
        "time_constants",
    },
    "time_resolved": {
        "DecodedCourse",
        "SigmoidRise",
        "course_rise",
        "decoded_courses",
        "fit_rise",
    },
    "tuning_shapes": {
        "ShapeRule",
        "TuningShape",
        "shape_of",
    },
}
"""What a lab's own analyses may take from files of `evolver.analysis`."""


@pytest.mark.parametrize("module", sorted(PUBLIC))
def test_public_names_are_these(module):
    """Exactly these: a new one is a decision, and is written down here."""
    room = importlib.import_module(module)
    names = getattr(room, "__all__", None)
    if names is None:
        names = [
            name for name in vars(room) if not name.startswith("_") or name in PUBLIC[module]
        ]
        modules = {name for name in names if type(getattr(room, name)).__name__ == "module"}
        names = set(names) - modules
    assert set(names) == PUBLIC[module]
    for name in names:
        getattr(room, name)


@pytest.mark.parametrize("module", sorted(RIG_MODULES))
def test_what_rigs_are_written_against_stays(module):
    for name in RIG_MODULES[module]:
        assert hasattr(importlib.import_module(module), name)


def definitions(path):
    """Yield the public classes, functions and type aliases that a file defines."""
    for node in parsed(path).body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.ClassDef(name=name):
                yield name
            case ast.AnnAssign(target=ast.Name(id=name), annotation=kind):
                if ast.unparse(kind).endswith("TypeAlias"):
                    yield name
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call(func=maker)):
                if ast.unparse(maker).endswith("TypeVar"):
                    yield name
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Subscript()):
                if not name.isupper():  # an alias without its annotation
                    yield name
            case _:
                pass


def classes(path):
    """Return which of a file's public names are classes."""
    return {node.name for node in parsed(path).body if isinstance(node, ast.ClassDef)}


def room_of(path):
    """Return the room of a file: the package, and the folder in it if there is one."""
    parts = path.relative_to(ROOT).parts[:-1]
    return "/".join(parts[:2])


def test_decoders_are_all_in_one_place():
    """Whoever decodes imports from one file, wherever a decoder is defined."""
    decoding = importlib.import_module("evolver.analysis.decoding")
    for name in ("InvertedGLM", "LeastSquares", "Dense", "Ridge", "Decoder", "LinearDecoder"):
        assert hasattr(decoding, name)


@pytest.mark.parametrize("file", sorted(ARRAY_FUNCTIONS))
def test_array_functions_are_these(file):
    names = definitions(ROOT / "evolver" / "analysis" / f"{file}.py")
    assert {name for name in names if not name.startswith("_")} == ARRAY_FUNCTIONS[file]


def test_one_definition_a_public_name():
    """A name is defined in one place: whoever reads it knows which thing is meant.

    Functions of one room may repeat a role's name (`update` of each algorithm). `main` is each
    program's own.
    """
    rooms = defaultdict(set)
    for path in SOURCES:
        types = classes(path)
        for name in definitions(path):
            if not name.startswith("_") and name != "main":
                where = path.relative_to(ROOT).as_posix() if name in types else room_of(path)
                rooms[name].add(where)
    twice = {name: sorted(where) for name, where in rooms.items() if len(where) > 1}
    assert not twice, f"name one of each otherwise: {twice}"


def test_architecture_tells_of_every_room():
    text = (ROOT / "docs" / "ARCHITECTURE.md").read_text(encoding="utf-8")
    rooms = {
        f"{package}/{path.parent.name}/" if path.parent.name != package else f"{package}/"
        for package in PACKAGES
        for path in (ROOT / package).glob("*/__init__.py")
    }
    missing = sorted(room for room in rooms if f"`{room}`" not in text)
    assert not missing, "the table of rooms must name each: " + ", ".join(missing)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_pages_name_only_what_exists(page):
    text = page.read_text(encoding="utf-8")
    folders = "|".join((*PACKAGES, "tests", "benchmarks", "docs"))
    paths = set(re.findall(rf"`((?:{folders})/[\w/.-]*)`", text)) - MADE
    missing = sorted(path for path in paths if not (ROOT / path).exists())
    assert paths or page.stem != "ARCHITECTURE"
    assert not missing, "these do not exist: " + ", ".join(missing)
