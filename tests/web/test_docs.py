"""The API documentation page: every file comes from this server, and the page stores no token."""

import re
import tomllib
from fnmatch import fnmatch
from urllib.parse import urljoin

from fastapi import FastAPI
from httpx import AsyncClient

from support.repository import ROOT, text_of

STATIC = ROOT / "phase2/backend/todo/web/static"


async def references(anonymous: AsyncClient) -> list[str]:
    """Return the addresses of the files that the page loads."""
    page = await anonymous.get("/docs")
    return [address for address in re.findall(r'(?:src|href)="([^"]+)"', page.text) if not address.startswith("data:")]


# Task: T-051
class TestPage:
    async def test_docs_page_has_a_policy_that_allows_only_its_own_files(self, anonymous: AsyncClient) -> None:
        response = await anonymous.get("/docs")

        assert response.status_code == 200
        assert response.headers["content-type"] == "text/html; charset=utf-8"
        assert response.headers["content-security-policy"] == (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
            " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )

    async def test_docs_page_has_no_inline_script_or_style(self, anonymous: AsyncClient) -> None:
        page = (await anonymous.get("/docs")).text

        assert page.count("<script") == page.count("<script src=") == 2
        assert "<style" not in page
        assert "style=" not in page

    async def test_docs_page_loads_only_files_of_this_server(self, anonymous: AsyncClient) -> None:
        addresses = await references(anonymous)

        answers = [await anonymous.get(urljoin("/docs", address)) for address in addresses]

        assert [address.rpartition("/")[2] for address in addresses] == [
            "swagger-ui.css",
            "swagger-ui-bundle.js",
            "docs.js",
            "openapi.json",
        ]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 200]
        assert not [address for address in addresses if ":" in address or address.startswith("/")]

    async def test_root_path_redirects_to_the_docs_page(self, anonymous: AsyncClient) -> None:
        response = await anonymous.get("/")

        assert response.status_code == 302
        assert urljoin("/", response.headers["location"]) == "/docs"

    async def test_docs_page_allows_only_get_and_head(self, anonymous: AsyncClient) -> None:
        response = await anonymous.post("/docs")

        assert response.status_code == 405
        assert response.headers["allow"] == "GET, HEAD"
        assert response.json()["code"] == "method_not_allowed"


# Task: T-051
class TestFiles:
    async def test_docs_files_are_cached_forever(self, anonymous: AsyncClient) -> None:
        files = [address for address in await references(anonymous) if address.startswith("docs/")]

        answers = {address.rpartition("/")[2]: await anonymous.get(f"/{address}") for address in files}

        assert {name: answer.headers["content-type"].partition(";")[0] for name, answer in answers.items()} == {
            "swagger-ui.css": "text/css",
            "swagger-ui-bundle.js": "text/javascript",
            "docs.js": "text/javascript",
        }
        assert {answer.headers["cache-control"] for answer in answers.values()} == {
            "public, max-age=31536000, immutable"
        }

    async def test_docs_files_of_another_version_get_404(self, anonymous: AsyncClient) -> None:
        response = await anonymous.get("/docs/0123456789abcdef/docs.js")

        assert response.status_code == 404
        assert response.headers["content-type"] == "application/problem+json"

    async def test_docs_files_include_the_licences_of_their_contents(self, anonymous: AsyncClient) -> None:
        files = await references(anonymous)
        [bundle] = [address for address in files if address.endswith("swagger-ui-bundle.js")]

        licences = await anonymous.get(f"/{bundle}.LICENSE.txt")

        assert "License" in licences.text
        assert (STATIC / "swagger-ui/LICENSE").is_file()
        assert (STATIC / "swagger-ui/NOTICE").is_file()

    def test_swagger_ui_has_the_version_that_the_readme_names(self) -> None:
        [version] = re.findall(
            r"^# Swagger UI (\d+\.\d+\.\d+)$", text_of(STATIC / "swagger-ui/README.md"), re.MULTILINE
        )

        assert f'"{version}"' in text_of(STATIC / "swagger-ui/swagger-ui-bundle.js")

    def test_docs_files_reference_no_source_map(self) -> None:
        with_source_map = [path.name for path in STATIC.rglob("*.*s") if "sourceMappingURL" in text_of(path)]

        assert len(list(STATIC.rglob("*.*s"))) == 3
        assert with_source_map == []

    def test_docs_files_are_part_of_the_package(self) -> None:
        project = tomllib.loads(text_of(ROOT / "pyproject.toml"))
        patterns = project["tool"]["setuptools"]["package-data"]["todo"]

        files = [str(path.relative_to(STATIC.parents[1])) for path in STATIC.rglob("*") if path.is_file()]

        assert len(files) > 5
        assert [file for file in files if not any(fnmatch(file, pattern) for pattern in patterns)] == []


# Task: T-051
class TestScript:
    def test_docs_script_stores_no_token_and_calls_no_other_server(self) -> None:
        script = text_of(STATIC / "docs.js")

        assert "persistAuthorization: false," in script
        assert "validatorUrl: null," in script
        assert 'url: "openapi.json",' in script
        assert "://" not in script

    def test_docs_script_replaces_the_example_address_by_the_address_of_the_page(self, app: FastAPI) -> None:
        script = text_of(STATIC / "docs.js")

        assert "http://127.0.0.1:8000/api/" in app.openapi()["info"]["description"]
        assert r"response.text.replace(/http:\/\/127\.0\.0\.1:8000/g, here)" in script


# Task: T-050
class TestSpecification:
    async def test_specification_is_served_without_a_token(self, app: FastAPI, anonymous: AsyncClient) -> None:
        response = await anonymous.get("/openapi.json")

        assert response.status_code == 200
        assert response.headers["content-type"] == "application/json"
        assert response.json() == app.openapi()
