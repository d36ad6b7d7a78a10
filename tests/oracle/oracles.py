"""What others say that a usage costs. Each answers with a text, or with None where it has no price."""

import os

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import genai_prices
import litellm
from genai_prices import data_snapshot
from litellm import _internal_context
from litellm.types.utils import (
    CacheCreationTokenDetails,
    CompletionTokensDetailsWrapper,
    PromptTokensDetailsWrapper,
    Usage,
)

import usages

litellm.suppress_debug_info = True


class LiteLLM:
    """LiteLLM's cost calculation over the price map that the package carries."""

    name = "litellm"

    def __init__(self):
        self.providers = {}

    def provider(self, model):
        """The provider under which the package finds this very entry of its map."""
        if model not in self.providers:
            self.providers[model] = next(
                (p for p in self._candidates(model) if self._finds(model, p)), None
            )
        return self.providers[model]

    def _candidates(self, model):
        stated = litellm.model_cost.get(model, {}).get("litellm_provider", "")
        # `vertex_ai-anthropic_models` is one of the map's own words for `vertex_ai`.
        yield stated.split("-")[0]
        yield stated
        try:
            yield litellm.get_llm_provider(model=model)[1]
        except Exception:
            return

    def _finds(self, model, provider):
        try:
            return litellm.get_model_info(model, custom_llm_provider=provider)["key"] == model
        except Exception:
            return False

    def price(self, ask):
        provider = self.provider(ask["model"])
        if not provider:
            return None
        used = ask["usage"]
        get = lambda *meters: sum(used.get(meter, 0) for meter in meters)
        writes = get("cache_write_5m", "cache_write_1h")
        prompt = get("input", "cache_read", "audio_input") + writes
        answer = get("output", "reasoning", "audio_output")
        attributes = ask.get("attributes", {})
        extra = {}
        if provider == "anthropic" or "claude_platform" in ask["model"]:
            extra = {"inference_geo": attributes.get("region"), "speed": attributes.get("speed")}
        usage = Usage(
            prompt_tokens=prompt,
            completion_tokens=answer,
            total_tokens=prompt + answer,
            prompt_tokens_details=PromptTokensDetailsWrapper(
                text_tokens=get("input"),
                cached_tokens=get("cache_read"),
                audio_tokens=get("audio_input"),
                cache_creation_tokens=writes,
                cache_creation_token_details=CacheCreationTokenDetails(
                    ephemeral_5m_input_tokens=get("cache_write_5m"),
                    ephemeral_1h_input_tokens=get("cache_write_1h"),
                )
                if writes
                else None,
            ),
            completion_tokens_details=CompletionTokensDetailsWrapper(
                text_tokens=get("output"),
                reasoning_tokens=get("reasoning"),
                audio_tokens=get("audio_output"),
            ),
            **{key: value for key, value in extra.items() if value},
        )
        tier = ask.get("service_tier")
        region = attributes.get("region")
        token = _internal_context._billing_time.set(usages.instant(ask))
        try:
            parts = litellm.cost_per_token(
                model=ask["model"],
                custom_llm_provider=provider,
                usage_object=usage,
                prompt_tokens=prompt,
                completion_tokens=answer,
                service_tier=None if tier == "batch" else tier,
                call_type="retrieve_batch" if tier == "batch" else "completion",
                data_residency=region,
                vertex_location=region,
            )
        except Exception:
            return None
        finally:
            _internal_context._billing_time.reset(token)
        return repr(parts[0] + parts[1])


class GenaiPrices:
    """The calculation of genai-prices over the data that the package carries."""

    name = "genai-prices"

    # Who sells a model under the name after the first slash, in the words of both.
    PROVIDERS = {
        "openai": "openai",
        "anthropic": "anthropic",
        "gemini": "google",
        "mistral": "mistral",
        "deepseek": "deepseek",
        "xai": "x-ai",
        "groq": "groq",
        "cerebras": "cerebras",
        "perplexity": "perplexity",
        "fireworks_ai": "fireworks",
        "together_ai": "together",
        "openrouter": "openrouter",
        "moonshot": "moonshotai",
        "zai": "zai",
        "novita": "novita",
        "cohere_chat": "cohere",
        "cohere": "cohere",
        "voyage": "voyageai",
        "minimax": "minimax",
        "ovhcloud": "ovhcloud",
        "azure": "azure",
        "bedrock": "aws",
        "bedrock_converse": "aws",
    }

    def __init__(self):
        snapshot = data_snapshot.get_snapshot()
        self.by_id = {provider.id: provider for provider in snapshot.providers}

    def find(self, model):
        """Its model of this name, for the exact name only."""
        entry = litellm.model_cost.get(model, {})
        stated = entry.get("litellm_provider", "")
        provider = self.by_id.get(self.PROVIDERS.get(stated))
        if provider is None:
            return None
        name = model.removeprefix(f"{stated}/")
        known = next((m for m in provider.models if m.id == name), None)
        return (provider, known) if known else None

    def price(self, ask):
        found = self.find(ask["model"])
        if not found or ask.get("attributes"):
            return None
        provider, model = found
        used = ask["usage"]
        get = lambda *meters: sum(used.get(meter, 0) for meter in meters)
        writes = get("cache_write_5m", "cache_write_1h")
        counts = {
            "input_tokens": get("input", "cache_read", "audio_input") + writes,
            "output_tokens": get("output", "reasoning", "audio_output"),
            "cache_read_tokens": get("cache_read"),
            "cache_write_tokens": writes,
            "cache_write_1h_tokens": get("cache_write_1h"),
            "input_audio_tokens": get("audio_input"),
            "output_audio_tokens": get("audio_output"),
            "output_reasoning_tokens": get("reasoning"),
        }
        tier = ask.get("service_tier")
        context = None
        if tier:
            context = {"processing": "batch"} if tier == "batch" else {"service_tier": tier}
            stated = model.price_variants or []
            if not any(variant.when == context for variant in stated):
                return None
        try:
            answer = model.calc_price(
                genai_prices.Usage(**{k: v for k, v in counts.items() if v}),
                provider,
                genai_request_timestamp=usages.instant(ask),
                price_context=context,
            )
        except Exception:
            return None
        return str(answer.total_price)
