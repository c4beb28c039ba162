from typer.testing import CliRunner

from mmkd_tf.cli import app


def test_an_existing_folder_without_data_does_not_begin_another_study(tmp_path):
    (tmp_path / "items").mkdir()
    result = CliRunner().invoke(app, ["study", "--output", str(tmp_path)])
    assert result.exit_code == 2
    assert "`DATA`: what the study in" in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["items"]
