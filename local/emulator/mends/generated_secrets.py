"""Gap: a secret that CloudFormation generates takes no notice of `ExcludePunctuation`, so a key that
goes into headers and shell variables comes with quotes and braces."""

import string

from ministack.services.cloudformation import provisioners


def apply() -> None:
    generate = provisioners._sm_secret_string

    def mended_generate(properties):
        wanted = properties.get("GenerateSecretString")
        if wanted and str(wanted.get("ExcludePunctuation", False)).lower() == "true":
            excluded = wanted.get("ExcludeCharacters", "") + string.punctuation
            properties = {**properties, "GenerateSecretString": {**wanted, "ExcludeCharacters": excluded}}
        return generate(properties)

    provisioners._sm_secret_string = mended_generate
