"""Files that are in their place whole, or not at all."""

import pytest

from evolver.whole_files import whole_file


def test_a_file_is_in_its_place_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "x.txt"
    with whole_file(path) as unfinished:
        unfinished.write_text("whole")
        assert not path.exists()
        assert unfinished.suffix == ".txt"
    assert path.read_text() == "whole"

    def stopped():
        with whole_file(path) as other:
            other.write_text("ha")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]
