"""What an NWB file holds is what the recording says, and NWB's own inspector finds no fault."""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

import h5py
import msgspec
import numpy as np
import pytest
from nwbinspector import Importance, inspect_nwbfile, load_config
from pynwb import NWBHDF5IO

from evolver import recording as rec
from evolver.export import nwb_words
from evolver.export.nwb import export_nwb
from evolver.journal.records import Result, RunEnd
from evolver.recording import schema as s
from tests.export import recordings as r
from tests.soak import further

CASES = {
    "whole": {},
    "interrupted": {"interrupted": True, "change": r.repeats},
    "two rigs": {"change": r.two_rigs},
    "counts of two rigs": {"change": r.two_rigs, "form": "counts"},
    "rates": {"form": "rates"},
    "nothing shown": {"change": r.nothing_shown},
    "silent units, lost images": {
        "change": lambda records: r.lost_images(r.silent_unit(records))
    },
    "no spikes, unknown laboratory": {"change": r.no_spikes, "lab": "of another version"},
}

SMALL = {"generations": 2, "popsize": 3, "image_size": 8}


SOAKED = CASES.keys() - {"interrupted", "counts of two rigs"}


@pytest.fixture(
    scope="module", params=[further(name) if name in SOAKED else name for name in CASES]
)
def exported(request, tmp_path_factory):
    """A recording, and the NWB file of it, for each case."""
    folder = tmp_path_factory.mktemp("nwb")
    path = r.made(folder, **CASES[request.param])
    with rec.read(path) as recording:
        export_nwb(recording, folder / "session.nwb")
        yield request.param, recording, folder / "session.nwb"


@pytest.fixture(scope="module")
def nwb(exported):
    """The file, as pynwb reads it; tests only look at it."""
    with NWBHDF5IO(exported[2], "r") as io:
        yield io.read()


INSPECTED = [name if name == "interrupted" else further(name) for name in CASES]
GRAVE = {Importance.ERROR.name, Importance.CRITICAL.name, Importance.PYNWB_VALIDATION.name}


@pytest.mark.parametrize("exported", INSPECTED, indirect=True)
def test_no_fault_is_found_and_with_its_metadata_it_is_ready_for_dandi(exported):
    case, _, path = exported
    found = [  # pynwb's own validation among them
        (message.importance.name, message.check_function_name, message.message)
        for message in inspect_nwbfile(nwbfile_path=str(path))
    ]
    assert [one for one in found if one[0] in GRAVE] == []
    violations = {check for importance, check, _ in found if "VIOLATION" in importance}
    # Trials that were never shown have no time; what nobody stated is missing.
    known = {"check_subject_species_exists"} if "unknown laboratory" in case else set()
    assert violations - {"check_time_interval_time_columns"} == known
    critical_there = set(load_config("dandi")["CRITICAL"])
    assert {check for _, check, _ in found} & critical_there == known


def test_the_laboratory_is_as_the_session_file_says(exported, nwb):
    if "unknown laboratory" in exported[0]:
        assert (nwb.subject.subject_id, nwb.subject.sex) == ("unknown", "U")
        assert nwb.experimenter is None
        return
    subject = nwb.subject
    assert (subject.subject_id, subject.species, subject.sex, subject.age, subject.weight) == (
        *("Ärmel 12", "Macaca mulatta", "F", "P7Y", "7.4 kg"),
    )
    assert subject.date_of_birth == datetime(2016, 2, 29, tzinfo=UTC)
    assert subject.description == "原 right-handed"
    assert nwb.experimenter == ("Müller, Zoë", "Hubel, David")
    assert (nwb.lab, nwb.institution, nwb.protocol) == ("Vision", "a university", "1958-01")
    assert nwb.related_publications == ("doi:10.1113/jphysiol.1959.sp006308",)
    device = nwb.devices["array PIT"]
    assert (device.model.name, device.model.manufacturer) == ("FMA-32", "a maker")


def expected_seconds(recording, name):
    """Return a time of each row, worked out by itself: each rig's quickest answer took none."""
    table = recording.presentations
    seconds = np.full(len(table), np.nan)
    for rig in np.unique(table["rig"]):
        rows = (table["rig"] == rig) & (table["attempt"] > 0)
        if not rows.any():
            continue  # never shown: of no rig
        delay = min(int(a) - int(b) for a, b in table[rows][["received_ns", "offset_ns"]])
        for row in np.flatnonzero(rows):
            engine = int(table[name][row]) + delay
            seconds[row] = (engine - 1_700_000_000 * 10**9) / 1e9
    return seconds


def test_trials_are_the_presentations_in_the_order_of_time(exported, nwb):
    _, recording, _ = exported
    table = recording.presentations
    if not len(table):
        assert nwb.trials is None
        return
    start = expected_seconds(recording, "onset_ns")
    order = sorted(range(len(table)), key=lambda row: (np.isnan(start[row]), start[row], row))
    trials = nwb.trials.to_dataframe()
    np.testing.assert_array_equal(trials["start_time"], start[order])
    np.testing.assert_array_equal(
        trials["stop_time"], expected_seconds(recording, "offset_ns")[order]
    )
    for name in ("status", "attempt", "block", "image_id", "onset_ns", "received_ns", "reason"):
        assert list(trials[name]) == list(table[name][order])
    threads = [*recording.threads.names, ""]
    assert list(trials["thread"]) == [threads[k] for k in table["thread"][order]]
    shown = trials["status"] != "missing"
    assert (np.diff(trials["start_time"][shown]) > 0).all()
    assert trials["start_time"][~shown].isna().all()


def test_the_session_begins_when_it_did(nwb):
    assert nwb.session_start_time == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    assert nwb.timestamps_reference_time == nwb.session_start_time


def expected_trains(recording):
    """Return each unit's spikes, found one by one: of the last showing that saw it."""
    table, (before, after) = recording.presentations, recording.window_ms
    onset_s = expected_seconds(recording, "onset_ns")
    onset_ns = [int(onset) for onset in table["onset_ns"]]
    rig = table["rig"].tolist()
    trains = [[] for _ in recording.units]
    good = np.flatnonzero((table["status"] == "ok") & (table["form"] == "spikes")).tolist()
    for row in good:
        near = [  # showings of this rig that may have seen the same
            (onset_ns[row] - onset_ns[other], other)
            for other in good
            if rig[other] == rig[row] and abs(onset_ns[other] - onset_ns[row]) < 500_000_000
        ]
        for unit, time_ms in zip(*(one.tolist() for one in recording.spikes(row)), strict=True):
            since = {other: apart / 1e6 + time_ms for apart, other in near}
            sees = {other: ms for other, ms in since.items() if before <= ms < after}
            begun = [(ms, other) for other, ms in sees.items() if ms >= 0]
            owner = min(begun)[1] if begun else max((ms, k) for k, ms in sees.items())[1]
            if owner == row:
                trains[unit].append(onset_s[row] + time_ms / 1e3)
    return [sorted(train) for train in trains]


def test_spike_times_are_what_the_recording_says_to_the_bit(exported, nwb):
    case, recording, _ = exported
    trains = expected_trains(recording)
    if not any(trains):
        assert nwb.units is None
        assert case.startswith(("counts", "rates", "nothing", "no spikes"))
        assert len(nwb.processing["ecephys"]["recorded_units"]) == len(recording.units)
        return
    assert len(nwb.units) == len(trains)
    for unit, train in enumerate(trains):
        assert nwb.units["spike_times"][unit].tolist() == train
        windows = nwb.units["obs_intervals"][unit]
        inside = [((windows[:, 0] <= t) & (t < windows[:, 1])).sum() == 1 for t in train]
        assert all(inside)
    if "silent units" in case:
        assert [bool(train) for train in trains] == [True, False, True, False]
    assert nwb.units.resolution == 1 / 40_000


def test_every_recorded_spike_is_there_by_trial(exported, nwb):
    _, recording, _ = exported
    table = recording.presentations
    if not sum(len(recording.spikes(row)[0]) for row in range(len(table))):
        assert "spikes_by_trial" not in nwb.processing["ecephys"].data_interfaces
        return
    start = expected_seconds(recording, "onset_ns")
    order = sorted(range(len(table)), key=lambda row: (np.isnan(start[row]), start[row], row))
    spikes = nwb.processing["ecephys"]["spikes_by_trial"]
    for trial, row in enumerate(order):
        unit, time_ms = recording.spikes(row)
        np.testing.assert_array_equal(spikes["unit"][trial], unit)
        np.testing.assert_array_equal(spikes["time_ms"][trial], time_ms)


def test_responses_are_those_of_the_trials(exported, nwb):
    _, recording, _ = exported
    table = recording.presentations
    if not len(table):
        return
    ecephys = nwb.processing["ecephys"]
    start = expected_seconds(recording, "onset_ns")
    order = sorted(range(len(table)), key=lambda row: (np.isnan(start[row]), start[row], row))
    if "psth" in ecephys.data_interfaces:
        np.testing.assert_array_equal(ecephys["psth"]["counts"][:], recording.psth[:][order])
        np.testing.assert_array_equal(
            ecephys["psth"]["is_valid"][:], recording.psth_valid[order]
        )
        edges = ecephys["psth_bins"]
        np.testing.assert_array_equal(edges["start_ms"][:], recording.psth_edges_ms[:-1])
        np.testing.assert_array_equal(edges["stop_ms"][:], recording.psth_edges_ms[1:])
    seen = 0
    for name, key in (("rates", "rates"), ("counts_0", "counts")):
        if name not in ecephys.data_interfaces:
            continue
        own = ecephys[name]
        for trial, values in zip(own["trial"][:], own[key][:], strict=True):
            form, arrays = recording.response(order[trial])
            assert form == key
            np.testing.assert_array_equal(values, arrays[key])
            seen += 1
    assert seen == (np.isin(table["form"], ["counts", "rates"])).sum()


def test_images_are_there_once_by_their_ids(exported, nwb):
    _, recording, _ = exported
    if not len(recording.images):
        assert not nwb.stimulus
        return
    images = nwb.stimulus["images"]
    assert list(images.id[:]) == list(range(len(recording.images)))
    for image_id, pixels in enumerate(images["pixels"][:]):
        if images["is_lost"][image_id]:
            assert recording.images.is_lost(image_id)
            assert not pixels.any()
        else:
            digest = hashlib.sha256(pixels.tobytes()).hexdigest()
            assert digest == images["sha256"][image_id] == recording.image_sha256[image_id]
    assert list(images["label"][:]) == list(recording.image_labels)


def test_electrodes_are_the_channels_in_their_areas(exported, nwb):
    case, recording, _ = exported
    electrodes = nwb.electrodes.to_dataframe()
    places = {(str(u["area"]), int(u["channel"])) for u in recording.units}
    assert {(e.location, e.channel) for e in electrodes.itertuples()} == places
    assert len(electrodes) == len(places)
    units = nwb.units or nwb.processing["ecephys"]["recorded_units"]
    for row, unit in enumerate(recording.units):
        (electrode,) = units["electrodes"][row].itertuples()
        assert (electrode.location, electrode.channel) == (unit["area"], unit["channel"])
        assert units["label"][row] == unit["label"]
    if "two rigs" in case:
        assert "V1_V2_ ü" in nwb.electrode_groups


def test_codes_scores_and_states_are_those_of_the_threads(exported, nwb):
    _, recording, _ = exported
    for thread in recording.threads:
        if not len(thread.codes):
            assert "misc" not in nwb.processing
            continue
        codes = nwb.processing["misc"][f"{thread.name}_codes"]
        np.testing.assert_array_equal(codes["code"][:], thread.codes)
        np.testing.assert_array_equal(codes["score"][:], thread.score)
        np.testing.assert_array_equal(codes["image_id"][:], thread.image_id)
        states = nwb.processing["misc"][f"{thread.name}_states"]
        settings = {one["name"]: one for one in json.loads(nwb.scratch["threads"].data)}
        for row, generation in enumerate(states.id[:]):
            state = thread.state(int(generation))
            np.testing.assert_array_equal(states["mean"][row], state["mean"])
            assert states["sigma"][row] == state["sigma"]
            drawn = settings[thread.name]["rng_states"][str(generation)]
            assert drawn == state["rng_state"]
        assert settings[thread.name]["options"] == thread.options
    assert nwb.scratch["session_file"].data == recording.config


def test_events_and_blocks_are_told(exported, nwb):
    _, recording, _ = exported
    if len(recording.events):
        events = nwb.get_events_table("session_events")
        assert sorted(events["annotation"][:]) == sorted(recording.events["text"])
        assert (np.diff(events["timestamp"][:]) >= 0).all()
    if len(recording.blocks):
        blocks = nwb.processing["misc"]["blocks"]
        np.testing.assert_array_equal(blocks["wait"][:], recording.blocks["wait"])
        np.testing.assert_array_equal(blocks["reference_scores"][:], recording.reference_scores)


def test_numbers_say_what_they_are_counted_in(exported, nwb):
    case, recording, _ = exported
    if "misc" not in nwb.processing:
        return
    misc = nwb.processing["misc"]
    for thread in recording.threads:
        codes = misc[f"{thread.name}_codes"]
        assert codes["score"].description == "told to the optimizer, spikes/s; NaN: none"
        assert codes["sem"].description.endswith(", spikes/s")
        states = misc[f"{thread.name}_states"]
        assert states["mean"].description == "mean of the search distribution, latent units"
        unknown = [c.name for c in states.columns if "its code says" in c.description]
        assert unknown == ["n"]  # which no optimizer has
    blocks = misc["blocks"]
    assert blocks["committed_time"].description == (
        "when it was committed, session's clock, s; NaN: never"
    )
    assert "spikes/s" in blocks["reference_scores"].description
    simulated = (recording.presentations["onset_source"] == "simulated").any()
    for table in (nwb.trials, blocks):
        assert ("do not line up" in table.description) == simulated
    if "unknown laboratory" in case:
        assert "settings" not in nwb.scratch
    else:
        settings = json.loads(nwb.scratch["settings"].data)
        assert settings["presentation"]["size_deg"] == 3.0  # which the session file leaves out
        assert "longer side 3 degrees" in nwb.stimulus["images"].description


@pytest.mark.soak
def test_words_of_units_states_and_ends(tmp_path):
    assert set(nwb_words.FITNESS_STATES) == {*s.FITNESS_NUMBERS, *s.FITNESS_ARRAYS}
    assert "its code says" in nwb_words.state_words("rows", {"rows", "counts"})
    assert nwb_words.state_words("rows", {"rows", "forward"}).startswith("matrix V")

    def two(records):
        start, *others = records
        threads = tuple(
            msgspec.structs.replace(thread, fitness=json.dumps({"unit": unit}))
            for thread, unit in zip(start.threads, ("spikes/s", "sd"), strict=True)
        )
        ended = [r for r in others if not isinstance(r, (RunEnd, Result))]
        return [msgspec.structs.replace(start, threads=threads), *ended]

    with rec.read(r.made(tmp_path, two, **SMALL)) as recording:
        assert nwb_words.score_units(recording) == "spikes/s of texture, sd of object"
        assert nwb_words.ending(recording).endswith("cut short: no end of it was recorded.")
        export_nwb(recording, tmp_path / "x.nwb")
    with NWBHDF5IO(tmp_path / "x.nwb", "r") as io:
        nwb = io.read()
        assert nwb.processing["misc"]["object_codes"]["score"].description.endswith(
            "sd; NaN: none"
        )


def contents(path):
    """Return everything in a file but when it was made."""
    found = {}

    def take(name, part):
        values = part[()] if isinstance(part, h5py.Dataset) else None
        if name != "file_create_date" and "specifications" not in name:
            found[name] = (
                repr(np.asarray(values).tolist()),
                sorted(map(repr, part.attrs.items())),
            )

    with h5py.File(path) as file:
        file.visititems(take)
    return found


def test_two_exports_differ_in_the_time_they_were_made_alone(exported, tmp_path):
    case, recording, path = exported
    if case not in {"two rigs", "counts of two rigs"}:
        return
    export_nwb(recording, tmp_path / "again.nwb")
    first, second = contents(path), contents(tmp_path / "again.nwb")
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []


@pytest.mark.soak
def test_progress_ends_where_it_should(tmp_path):
    told = []
    with rec.read(r.made(tmp_path, lab="x", **SMALL)) as recording:
        export_nwb(
            recording, tmp_path / "x.nwb", progress=lambda done, of: told.append((done, of))
        )
    assert told == sorted(told)
    assert told[-1][0] == told[-1][1] > 0
    assert [path.name for path in tmp_path.glob("*.nwb")] == ["x.nwb"]
    with h5py.File(tmp_path / "x.nwb") as file:
        # Of an unknown system: as near as 32-bit floats of some 300 ms can be.
        assert file["units/spike_times"].attrs["resolution"] == 2**-15 / 1000


def test_what_interrupts_an_export_leaves_what_was_there(tmp_path):
    (tmp_path / "x.nwb").write_text("precious")

    def stop(_done, _of):
        raise KeyboardInterrupt

    with rec.read(r.made(tmp_path, **SMALL)) as recording, pytest.raises(KeyboardInterrupt):
        export_nwb(recording, tmp_path / "x.nwb", overwrite=True, progress=stop)
    assert Path(tmp_path / "x.nwb").read_text() == "precious"
    assert [path.name for path in tmp_path.iterdir() if "nwb" in path.name] == ["x.nwb"]
