"""The filters before a body: quota sees the key before a large one comes, and no worker holds too many.

The steps are listed in the order of `gate_filters`; `envoy/README.md` gives the reasons. They communicate by `GateKey`.
"""

from __future__ import annotations

from google.protobuf import any_pb2
from spendgate_envoy.envoy.config.core.v3 import base_pb2
from spendgate_envoy.envoy.extensions.filters.http.ext_authz.v3 import ext_authz_pb2
from spendgate_envoy.envoy.extensions.filters.http.lua.v3 import lua_pb2
from spendgate_envoy.envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm,
)
from spendgate_envoy.envoy.type.matcher.v3 import metadata_pb2, value_pb2

from services.kernel.envoy_contract import (
    ADMISSION_NAMESPACE,
    GATE_NAMESPACE,
    KEY_STAGE,
    STAGE_EXTENSION,
    AdmissionKey,
    GateKey,
)
from services.router.adapters.envoy_resources_scripts import Scripts
from services.router.adapters.envoy_resources_wire import http_filter, pack

SMALL_BODIES_FILTER = "small_bodies"
GATE_FILTER = "gate"
LARGE_BODIES_FILTER = "large_bodies"


def gate_filters(check: ext_authz_pb2.ExtAuthz, scripts: Scripts) -> list[hcm.HttpFilter]:
    """Returns the steps before the scan. `check` is the question to quota about the whole call."""
    small = lua_pb2.Lua(default_source_code=base_pb2.DataSource(inline_string=scripts.small_bodies))
    # A script only for the routes that name it. Small calls do without.
    large = lua_pb2.Lua(
        source_codes={LARGE_BODIES_FILTER: base_pb2.DataSource(inline_string=scripts.large_bodies)},
    )
    return [
        http_filter(SMALL_BODIES_FILTER, small),
        http_filter(GATE_FILTER, _question_about_the_key(check)),
        http_filter(LARGE_BODIES_FILTER, large),
    ]


def gate_on_endpoint() -> dict[str, any_pb2.Any]:
    """Configures a route that takes calls: the filter `gate` asks quota about the key alone."""
    stage = ext_authz_pb2.CheckSettings(context_extensions={STAGE_EXTENSION: KEY_STAGE})
    return {GATE_FILTER: pack(ext_authz_pb2.ExtAuthzPerRoute(check_settings=stage))}


def gate_on_large_bodies() -> dict[str, any_pb2.Any]:
    """Configures a route that takes bodies which quota admitted."""
    return gate_on_endpoint() | {LARGE_BODIES_FILTER: pack(lua_pb2.LuaPerRoute(name=LARGE_BODIES_FILTER))}


def body_may_come() -> metadata_pb2.MetadataMatcher:
    """Matches requests whose key quota accepted before their body came."""
    return _is_in_answer(AdmissionKey.HOLDER)


def answer_is_held() -> metadata_pb2.MetadataMatcher:
    """Matches requests whose answer may need a translation, for which the whole of it must be there."""
    return _is_in_answer(AdmissionKey.TRANSLATED)


def _is_in_answer(key: AdmissionKey) -> metadata_pb2.MetadataMatcher:
    return metadata_pb2.MetadataMatcher(
        filter=ADMISSION_NAMESPACE,
        path=[metadata_pb2.MetadataMatcher.PathSegment(key=key)],
        value=value_pb2.ValueMatcher(present_match=True),
    )


def _question_about_the_key(check: ext_authz_pb2.ExtAuthz) -> ext_authz_pb2.ExtAuthz:
    """Asked unless `small_bodies.lua` says that it is not needed. Even if that script fails, the answer is awaited.

    Afterwards the route is chosen again. Only the new route takes a body of any size.
    """
    question = ext_authz_pb2.ExtAuthz()
    question.CopyFrom(check)
    question.stat_prefix = GATE_FILTER
    question.ClearField("metadata_context_namespaces")
    question.filter_enabled_metadata.CopyFrom(
        metadata_pb2.MetadataMatcher(
            filter=GATE_NAMESPACE,
            path=[metadata_pb2.MetadataMatcher.PathSegment(key=GateKey.UNASKED)],
            value=value_pb2.ValueMatcher(bool_match=True),
            invert=True,
        )
    )
    return question
