"""Makes Python types of each schema, reads every example with them and writes it again: `check.py CONTRACTS_FOLDER`.

Prints for each schema which type was made and how many examples came back as they were. With `wrong` behind the folder,
examples are spoilt first, and must be refused.
"""

import importlib.util
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from datamodel_code_generator import DataModelType, InputFileType, PythonVersion, generate  # type: ignore[import-not-found]
from pydantic import BaseModel, ValidationError


def made(schema: Path, folder: Path) -> type[BaseModel]:
    """The type of a schema's messages."""
    module = folder / f"{schema.stem.replace('-', '_')}.py"
    generate(
        schema,
        input_file_type=InputFileType.JsonSchema,
        output=module,
        output_model_type=DataModelType.PydanticV2BaseModel,
        target_python_version=PythonVersion.PY_311,
        use_title_as_name=False,
    )
    spec = importlib.util.spec_from_file_location(module.stem, module)
    assert spec is not None and spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[module.stem] = loaded
    spec.loader.exec_module(loaded)
    found: type[BaseModel] = getattr(loaded, json.loads(schema.read_text())["title"])
    return found


def again(model: type[BaseModel], example: Any) -> Any:
    """Read and written."""
    return json.loads(model.model_validate(example).model_dump_json(by_alias=True, exclude_unset=True))


def main(contracts: Path, wrong: bool) -> int:
    """Status 1 where anything is not as it should be."""
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        for schema in sorted((contracts / "schemas").glob("*.json")):
            model = made(schema, Path(folder))
            count = 0
            for path in sorted((contracts / "examples").glob(f"{schema.stem}*.json")):
                if path.name.split(".")[0] != schema.stem:
                    continue
                example = json.loads(path.read_text())
                if wrong:
                    example[next(iter(example))] = 5
                try:
                    same = again(model, example) == example
                except ValidationError as error:
                    print(f"{path.name}: {error.errors()[0]['msg']}", file=sys.stderr)
                    same = False
                count += same
                bad += not same
            print(json.dumps({"schema": schema.stem, "type": model.__name__, "examples": count}))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), "wrong" in sys.argv[2:]))
