"""Reads an exported configuration by the parser of the tool that it is for, in a process of its own.

    python parsed_by.py TOOL FILE

prints what the parser understood, as JSON. The working directory is that of the export, as when the tool is run.
"""

import json
import os
import sys

import yaml


def axolotl(file):
    from axolotl.utils.schemas.config import AxolotlInputConfig

    given = read(file)
    unknown = set(given) - set(AxolotlInputConfig.model_fields)
    assert not unknown, f"axolotl has no fields {unknown}"
    return AxolotlInputConfig(**given).model_dump(mode="json", exclude_none=True)


def llama_factory(file):
    os.environ["DISABLE_VERSION_CHECK"] = "1"
    from llamafactory.hparams.parser import get_train_args

    model, data, training, finetuning, _ = get_train_args(read(file))
    found = {}
    for part in (training, model, data, finetuning):
        found |= {name: value for name, value in vars(part).items() if not name.startswith("_")}
    return found


def oumi(file):
    from oumi.core.configs import TrainingConfig

    config = TrainingConfig.from_yaml(file)
    config.finalize_and_validate()
    from omegaconf import OmegaConf

    return OmegaConf.to_container(OmegaConf.structured(config), enum_to_str=True)


def trl(file):
    from trl.scripts.sft import make_parser

    script, training, model, _ = make_parser().parse_args_and_config(["--config", file], fail_with_unknown_args=True)
    return {**vars(script), **vars(training), **vars(model)}


def read(file):
    with open(file) as opened:
        return yaml.safe_load(opened)


if __name__ == "__main__":
    parse = {"axolotl": axolotl, "llama-factory": llama_factory, "oumi": oumi, "trl": trl}[sys.argv[1]]
    print(json.dumps(parse(sys.argv[2]), default=str))
