"""Headers that must not pass the gateway, as clients and providers send them."""

from __future__ import annotations

_FROM_CLIENT = """
    x-goog-fieldmask x-http-method x-http-method-override x-method-override x-original-method
    x-original-url x-original-uri x-rewrite-url x-goog-request-params prefer x-accept
    openai-organization openai-project x-goog-user-project anthropic-organization-id openai-beta
    x-vertex-ai-llm-request-type x-vertex-ai-llm-shared-request-type x-ms-azure-ai-sender
    x-portkey-api-key x-portkey-config x-portkey-provider x-portkey-virtual-key helicone-auth
    helicone-target-url helicone-openai-api-base cf-aig-authorization cf-aig-metadata cf-aig-skip-cache
    x-litellm-api-key x-litellm-tags x-litellm-timeout ocp-apim-subscription-key x-amz-security-token
    x-amz-date x-amz-target x-gateway-model x-api-version api-version x-ms-client-request-id
    x-auth-token x-access-token x-csrf-token proxy-authorization cookie x-session-affinity
    forwarded x-forwarded-for x-forwarded-host x-forwarded-port x-forwarded-prefix x-real-ip
    true-client-ip cf-connecting-ip via from referer origin http-referer x-title
    accept-language accept-charset accept-encoding baggage x-goog-api-client
    te trailer range if-match if-none-match cache-control content-language content-location
    idempotency-key x-stainless-lang x-stainless-os x-stainless-runtime x-spendgate-team
    x-envoy-max-retries x-envoy-upstream-alt-stat-name anthropic-dangerous-direct-browser-access
    """
_FROM_PROVIDER = """
    openai-organization openai-project openai-version anthropic-organization-id request-id
    x-request-id x-ratelimit-limit-requests x-ratelimit-remaining-tokens ratelimit-limit
    ratelimit-remaining ratelimit-reset ratelimit-policy anthropic-ratelimit-tokens-remaining
    x-litellm-key-spend x-litellm-response-cost x-litellm-model-api-base x-litellm-key-max-budget
    x-portkey-trace-id helicone-id cf-aig-cache-status x-groq-region x-amzn-requestid
    x-ms-region azureml-model-session apim-request-id x-inference-cost x-account-id
    location refresh link alt-svc content-location clear-site-data set-cookie set-cookie2
    www-authenticate proxy-authenticate authentication-info access-control-allow-origin
    access-control-allow-credentials access-control-expose-headers access-control-allow-headers
    strict-transport-security public-key-pins expect-ct nel report-to reporting-endpoints
    content-security-policy x-frame-options permissions-policy referrer-policy sourcemap
    x-sendfile x-accel-redirect x-accel-expires service-worker-allowed timing-allow-origin
    server via x-powered-by x-served-by x-cache x-cache-hits x-timer cf-ray
    cf-cache-status x-envoy-upstream-service-time x-envoy-decorator-operation server-timing
    x-backend x-kong-upstream-latency x-varnish
    x-spendgate-policy x-spendgate-budget-remaining x-spendgate-model-requested x-trace-id
    age etag expires last-modified vary warning pragma keep-alive proxy-connection
    """
FROM_CLIENT = dict.fromkeys(_FROM_CLIENT.split(), "1")
"""What takes the usage out of an answer, names another account or tier, belongs to other gateways, tells who is behind
ours, or says how a body is sent."""
FROM_PROVIDER = dict.fromkeys(_FROM_PROVIDER.split(), "1")
"""What tells of the provider's account with us and of its machines, what would have a client or a browser do something,
and what only the gateway may say."""
