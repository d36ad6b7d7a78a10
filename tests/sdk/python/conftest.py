"""What every test of the suite needs: the server's coordinates, clients, and a count of attempts."""

import os

import httpx2 as httpx
import openai
import pytest


def setting(name: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        pytest.exit(f"{name} is not set; run ./just sdk", returncode=2)
    return value


class Attempts(httpx.HTTPTransport):
    """The SDK's own transport, which also notes each request that leaves it."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[httpx.Request] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return super().handle_request(request)


@pytest.fixture(scope="session")
def base_url() -> str:
    return setting("TOLLGATE_BASE_URL")


@pytest.fixture(scope="session")
def api_key() -> str:
    return setting("TOLLGATE_API_KEY")


@pytest.fixture(scope="session")
def empty_key() -> str:
    return setting("TOLLGATE_EMPTY_KEY")


@pytest.fixture
def attempts() -> Attempts:
    return Attempts()


@pytest.fixture
def client(base_url: str, api_key: str, attempts: Attempts) -> openai.OpenAI:
    with openai.OpenAI(
        base_url=base_url,
        api_key=api_key,
        timeout=30,
        http_client=httpx.Client(transport=attempts, trust_env=False),
    ) as made:
        yield made


@pytest.fixture
def raw(base_url: str, api_key: str) -> httpx.Client:
    """A plain HTTP client, for what an SDK cannot send or does not show."""
    with httpx.Client(
        base_url=base_url + "/",
        headers={"authorization": f"Bearer {api_key}"},
        timeout=30,
        trust_env=False,
    ) as made:
        yield made
