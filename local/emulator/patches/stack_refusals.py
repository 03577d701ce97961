"""Gap: CloudFormation's requests succeed where AWS refuses them: values for parameters that the template does not have,
and the creation of a stack with the name of one that is ROLLBACK_COMPLETE."""

from ministack.services import cloudformation
from ministack.services.cloudformation import changesets, handlers
from ministack.services.cloudformation.helpers import _error, _p

NEVER_CREATED = "ROLLBACK_COMPLETE"


def unknown(template: dict, provided: list[dict]) -> list[str]:
    """The names of provided parameters that the template does not have."""
    known = template.get("Parameters", {})
    return [one["Key"] for one in provided if "Key" in one and one["Key"] not in known]


def apply() -> None:
    # Both modules have the function's name of their own.
    for module in (handlers, changesets):
        module._resolve_parameters = _strict(module._resolve_parameters)
    actions = handlers._ACTION_HANDLERS
    actions["CreateStack"] = _unless_never_created(actions["CreateStack"])
    actions["CreateChangeSet"] = _unless_never_created(actions["CreateChangeSet"])


def _strict(resolve):
    def patched_resolve(template, provided, previous=None):
        names = unknown(template, provided)
        if names:
            raise ValueError(f"Parameters: [{', '.join(names)}] do not exist in the template")
        return resolve(template, provided, previous)

    return patched_resolve


def _unless_never_created(handle):
    def patched_handle(params):
        name, kind = _p(params, "StackName"), _p(params, "ChangeSetType")
        stack = cloudformation._stacks.get(name)
        if stack and stack["StackStatus"] == NEVER_CREATED:
            if _p(params, "Action") == "CreateStack":
                return _error("AlreadyExistsException", f"Stack [{name}] already exists")
            if kind in ("CREATE", ""):
                text = f"Stack:{stack['StackId']} is in {NEVER_CREATED} state and can not be updated."
                return _error("ValidationError", text)
        return handle(params)

    return patched_handle
