"""Gap: generated secrets ignore `ExcludePunctuation`, so that a key for headers and shell variables contains quotes
and braces."""

import string

from ministack.services.cloudformation import provisioners


def apply() -> None:
    generate = provisioners._sm_secret_string

    def patched_generate(properties):
        wanted = properties.get("GenerateSecretString")
        if wanted and str(wanted.get("ExcludePunctuation", False)).lower() == "true":
            excluded = wanted.get("ExcludeCharacters", "") + string.punctuation
            properties = {**properties, "GenerateSecretString": {**wanted, "ExcludeCharacters": excluded}}
        return generate(properties)

    provisioners._sm_secret_string = patched_generate
