"""Subject, device and experimenter: in the forms that archives take, or refused with them."""

from datetime import date

import msgspec
import pytest
from nwbinspector import checks
from pynwb.file import Subject

from evolver.config import tables as config
from evolver.config.lab_tables import SubjectTable, birth_contradictions
from evolver.config.mistakes import Mistakes
from evolver.errors import ConfigError
from evolver.journal import JournalWriter
from evolver.journal.history import read_history
from evolver.live.at_start import gather_start
from evolver.setup.resume import Restored
from tests.config.test_tables import LEAST, mistakes
from tests.recording.sessions import make_records

WHOLE = """
[subject]
id = "Ärmel 12"
species = "Macaca mulatta"
sex = "F"
age = "P7Y6M"
date_of_birth = 2020-02-29
weight = "7.4 kg"
strain = "wild"
genotype = "wt"
description = "right-handed"
[device]
name = "array PIT"
manufacturer = "a maker"
model = "FMA-32"
serial_number = "0042"
description = "left hemisphere"
electrodes = "PtIr, 0.5 MOhm"
sampling_hz = 40000
[experimenter]
names = ["Hubel, David", "O'Neil-Müller, Zoë M."]
lab = "Vision"
institution = "a university"
description = "why"
keywords = ["IT", "closed loop"]
protocol = "1958-01"
publications = ["doi:10.1113/jphysiol.1959.sp006308"]
"""


def test_they_are_read_and_written_with_every_key():
    c = config.parse_session_file(LEAST + WHOLE)
    assert c.subject.date_of_birth == date(2020, 2, 29)
    assert c.experimenter.names[1] == "O'Neil-Müller, Zoë M."
    for table in (c.subject, c.device, c.experimenter):
        assert all(msgspec.structs.astuple(table)), "every key is in the test"
    assert config.parse_session_file(config.commented_session_file(c)) == c


def test_a_file_without_them_is_as_good():
    c = config.parse_session_file(LEAST)
    assert (c.subject.id, c.device.name, c.experimenter.names) == (None, None, ())


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("[subject]\nid = 'a/b'", "subject.id: must be a text: one line, no /"),
        ("[subject]\nid = ' '", "subject.id: must be a text"),
        ("[subject]\nid = 'a\\nb'".replace("'", '"'), "subject.id: must be a text"),
        ("[subject]\nid = 'M12 '", "no space at its ends"),
        ("[subject]\nid = ' M12'", "no space at its ends"),
        ("[subject]\nid = 'a'\nage = 'P8Y/P7Y'", "must begin with the lower age"),
        ("[subject]\nid = 'a'\nage = 'P12M/P1Y'", "must begin with the lower age"),
        ("[subject]\nid = 'a'\nage = 'P900Y'", "subject.age: must be at most 150 years"),
        (
            "[subject]\nid = 'a'\nspecies = 'http://purl.obolibrary.org/obo/NCBITaxon_0'",
            "two Latin words",
        ),
        ("[subject]\nweight = '7 kg'", "subject.id: is missing"),
        ("[subject]\nid = 'a'\nspecies = 'monkey'", "two Latin words, as 'Macaca mulatta'"),
        ("[subject]\nid = 'a'\nspecies = 'Macaca mulatta '", "two Latin words"),
        ("[subject]\nid = 'a'\nsex = 'female'", "subject.sex: must be one of 'F', 'M'"),
        ("[subject]\nid = 'a'\nage = '7 years'", "an ISO 8601 duration, as 'P7Y6M'"),
        ("[subject]\nid = 'a'\nage = 'P'", "an ISO 8601 duration"),
        ("[subject]\nid = 'a'\nage = 'P7YT'", "an ISO 8601 duration"),
        ("[subject]\nid = 'a'\nweight = '7.4'", "with its unit, as '7.4 kg'"),
        ("[subject]\nid = 'a'\nweight = 7.4", "subject.weight: must be a text"),
        ("[subject]\nid = 'a'\ndate_of_birth = 'May'", "must be a day"),
        ("[device]\nname = 'a:b'", "device.name: must be a text"),
        ("[device]\nsampling_hz = 0", "device.sampling_hz: must be a number above 0"),
        ("[device]\nmodel = ''", "device.model: must be a text: not empty"),
        ("[experimenter]\nnames = ['David Hubel']", "'Last, First'"),
        ("[experimenter]\nnames = 'Hubel, David'", "experimenter.names: must be a list"),
        ("[experimenter]\nname = 'x'", "is not a key here (did you mean names?)"),
    ],
)
def test_what_an_archive_would_refuse_is_refused_before_the_session(lines, said):
    found = mistakes(LEAST + lines)
    assert len(found) == 1
    assert said in found[0]


@pytest.mark.parametrize(
    ("born", "age", "said"),
    [
        (date(2020, 2, 29), None, None),
        (date(2026, 6, 1), None, None),
        (date(2026, 6, 2), None, "subject.date_of_birth: must be before the session's day"),
        (date(1066, 1, 1), None, "subject.date_of_birth: must be before the session's day"),
        (date(1990, 1, 1), "P5Y", "born on 1990-01-01, or be left out; found 'P5Y'"),
        (date(2019, 7, 1), "P6Y", None),
        (date(2019, 7, 1), "P7Y", None),  # rounded up
        (date(2019, 7, 1), "P6Y11M", None),
        (date(2019, 7, 1), "P6Y8M", "found 'P6Y8M'"),
        (date(2019, 7, 1), "P6Y/P8Y", None),
        (date(2019, 7, 1), "P6Y/", None),
        (date(2019, 7, 1), "P8Y/", "found 'P8Y/'"),
        (date(2019, 7, 1), "/P5Y", "found '/P5Y'"),
        (date(2026, 5, 31), "PT20H", None),
        (date(2026, 5, 1), "P4W", None),
        (date(2026, 5, 1), "P13W", "found 'P13W'"),
    ],
)
def test_age_and_birth_must_agree_on_the_sessions_day(born, age, said):
    subject = SubjectTable(id="a", age=age, date_of_birth=born)
    found = birth_contradictions(subject, date(2026, 6, 1))
    assert len(found) == (said is not None)
    assert said is None or said in found[0]


def test_the_check_before_a_session_looks_at_the_birth():
    found = Mistakes()
    subject = '[subject]\nid = "a"\ndate_of_birth = 2999-01-01\n'
    gather_start(config.parse_session_file(LEAST + subject), found)
    assert [m.key for m in found.found if m.key.startswith("subject")] == [
        "subject.date_of_birth"
    ]


CHECKS = {
    "species": checks.check_subject_species_form,
    "weight": checks.check_subject_weight,
    "age": checks.check_subject_age,
}


TEXTS = (
    *("Macaca mulatta", "Homo sapiens", "macaca mulatta", "Macaca Mulatta", "Macaca"),
    *("http://purl.obolibrary.org/obo/NCBITaxon_9544", "http://x/NCBITaxon_9544"),
    *("7.4 kg", "250 g", "7.4kg", "7,4 kg", "kg", "7. kg"),
    *("P7Y", "P7Y6M", "P23W", "P1Y2M3W4DT5H6M7S", "P1.5Y", "PT3H", "P", "PT", "7Y", "P7"),
    *("P7Y/P8Y", "P7Y/", "/P8Y", "P7Y/8"),
)


@pytest.mark.parametrize(
    ("key", "text"),
    # The inspector itself falls over an age with several strokes.
    [(key, text) for key in CHECKS for text in TEXTS if key != "age" or "//" not in text],
)
def test_what_is_taken_here_is_taken_by_the_inspector(key, text):
    found = CHECKS[key](Subject(**{key: text}))
    try:
        config.parse_session_file(f"{LEAST}[subject]\nid = 'a'\n{key} = '{text}'\n")
    except ConfigError:
        assert found is not None
    else:
        assert found is None


def test_a_session_goes_on_with_the_subject_it_began_with(tmp_path):
    """The journal's text is what counts: an animal's new weight keeps nobody from resuming."""
    began = LEAST + '[subject]\nid = "M12"\nweight = "7.4 kg"\n'
    start, *others = make_records(interrupted=True)
    with JournalWriter(tmp_path / "journal") as journal:
        for record in (msgspec.structs.replace(start, config=began), *others):
            journal.append(record)
            journal.sync()
    (tmp_path / "session.toml").write_text(began.replace("7.4", "7.9"))
    restored = Restored.of(read_history(tmp_path / "journal"))
    assert config.parse_session_file(restored.config_text).subject.weight == "7.4 kg"
