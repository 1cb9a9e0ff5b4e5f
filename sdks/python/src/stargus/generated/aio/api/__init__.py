# flake8: noqa

__all__ = [
    "AttributesApi",
    "AuthApi",
    "ChangesApi",
    "CollectionsApi",
    "IdentitiesApi",
    "ItemsApi",
    "LocksApi",
    "NotifiersApi",
    "OperationsApi",
    "PolicyApi",
    "PoolsApi",
    "QueuesApi",
    "ScriptsApi",
    "SessionsApi",
    "SystemApi",
    "TransferApi",
]

import typing as _typing

if _typing.TYPE_CHECKING:
    # import apis into api package
    from stargus.generated.aio.api.attributes_api import AttributesApi
    from stargus.generated.aio.api.auth_api import AuthApi
    from stargus.generated.aio.api.changes_api import ChangesApi
    from stargus.generated.aio.api.collections_api import CollectionsApi
    from stargus.generated.aio.api.identities_api import IdentitiesApi
    from stargus.generated.aio.api.items_api import ItemsApi
    from stargus.generated.aio.api.locks_api import LocksApi
    from stargus.generated.aio.api.notifiers_api import NotifiersApi
    from stargus.generated.aio.api.operations_api import OperationsApi
    from stargus.generated.aio.api.policy_api import PolicyApi
    from stargus.generated.aio.api.pools_api import PoolsApi
    from stargus.generated.aio.api.queues_api import QueuesApi
    from stargus.generated.aio.api.scripts_api import ScriptsApi
    from stargus.generated.aio.api.sessions_api import SessionsApi
    from stargus.generated.aio.api.system_api import SystemApi
    from stargus.generated.aio.api.transfer_api import TransferApi

else:
    from importlib import import_module

    _exports = {
        "AttributesApi": ".attributes_api",
        "AuthApi": ".auth_api",
        "ChangesApi": ".changes_api",
        "CollectionsApi": ".collections_api",
        "IdentitiesApi": ".identities_api",
        "ItemsApi": ".items_api",
        "LocksApi": ".locks_api",
        "NotifiersApi": ".notifiers_api",
        "OperationsApi": ".operations_api",
        "PolicyApi": ".policy_api",
        "PoolsApi": ".pools_api",
        "QueuesApi": ".queues_api",
        "ScriptsApi": ".scripts_api",
        "SessionsApi": ".sessions_api",
        "SystemApi": ".system_api",
        "TransferApi": ".transfer_api",
    }

    def __getattr__(name: str) -> object:
        if (module_name := _exports.get(name)) is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(module_name, __name__), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted(globals().keys() | _exports.keys())
