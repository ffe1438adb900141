# SPDX-License-Identifier: GPL-3.0-or-later
"""The recipe format as a JSON schema, for editors: `python -m coordinator.recipe_schema` writes it anew.

Generated from recipe.py, which stays the only definition; a schema cannot say all that parsing checks.
"""

import json
from pathlib import Path

from coordinator.config import RECIPES
from coordinator.recipe import Recipe

SCHEMA = RECIPES / "schema" / "recipe-1.json"


def schema() -> str:
    """The schema as JSON text; keys are spelled as recipes spell them."""
    said = Recipe.model_json_schema(by_alias=True, mode="validation")
    said["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    said["title"] = "patchfarm recipe, format 1"
    return json.dumps(said, indent=2, ensure_ascii=False, sort_keys=True) + "\n"


def write(path: Path = SCHEMA) -> None:
    """Put the schema where recipes look for it."""
    path.write_text(schema())


if __name__ == "__main__":
    write()
