"""The writing half of the hub on this machine: repositories are created and changed by commits, with a token.

The requests are those of huggingface_hub 2: create, validate-yaml, preupload, the batch of Git LFS, its uploads, and
the commit.
"""

import base64
import hashlib
import json
import shutil
from urllib.parse import unquote, urlsplit

TOKEN = "hf_writes"
LARGE_BYTES = 10_000  # from here on a file is uploaded on its own, before the commit
JSON = {"Content-Type": "application/json"}
OK, UNAUTHORIZED, FORBIDDEN, CONFLICT, CHANGED = 200, 401, 403, 409, 412


class Writing:
    """What the server keeps of writes.

    Attributes:
        root: where new repositories lie.
        writes: (method, path) of every request that would change something, refused or not.
        commits: repository -> its last commit, where it was written here.
        uploaded: sha256 -> content of what came before a commit.
        forbidden: owners that the token may not write to.
        broken: whether every commit fails.
        before_commit: called when a commit arrives, before it is carried out.
    """

    def __init__(self, root):
        self.root, self.writes, self.commits, self.uploaded, self.forbidden = root, [], {}, {}, set()
        self.broken = False
        self.before_commit = lambda: None

    @property
    def bytes_uploaded(self):
        return sum(map(len, self.uploaded.values()))

    def write(self, method, path, content, token):
        """(status, headers, body) of a request that writes."""
        parts = unquote(urlsplit(path).path).strip("/").split("/")
        self.writes.append((method, "/".join(parts)))
        if parts[0] == "storage":  # has no Authorization: the address is the permission
            self.uploaded[parts[1]] = content
            return OK, {}, b""
        if token != TOKEN:
            return UNAUTHORIZED, {}, json.dumps({"error": "Invalid credentials"}).encode()
        return self._authorised(parts, content)

    def _authorised(self, parts, content):
        if parts[:2] == ["api", "validate-yaml"]:
            return self._json({"errors": [], "warnings": []})
        if parts[:2] == ["api", "repos"]:
            return self._create(json.loads(content))
        repository = "/".join(parts[2:4] if parts[0] == "api" else parts[:2]).removesuffix(".git")
        if repository.partition("/")[0] in self.forbidden:
            return self._forbidden()
        if repository not in self.folders:
            return 404, {"X-Error-Code": "RepoNotFound"}, None
        if parts[-1] == "batch":
            return self._batch(json.loads(content))
        if parts[4] == "preupload":
            return self._modes(json.loads(content))
        return self._commit(repository, [json.loads(line) for line in content.splitlines()])

    def _create(self, asked):
        repository = f"{asked['organization']}/{asked['name']}"
        if asked["organization"] in self.forbidden:
            return self._forbidden()
        if repository in self.folders:
            return CONFLICT, JSON, json.dumps({"error": "You already created this model repo"}).encode()
        folder = self.root / repository
        folder.mkdir(parents=True)
        (folder / ".gitattributes").write_text("*.bin filter=lfs\n")
        self.publish(repository, folder)
        if asked.get("visibility") == "private" or asked.get("private"):
            self.private.add(repository)
        return self._json({"url": f"{self.url}/{repository}"})

    def _modes(self, asked):
        mode = {True: "lfs", False: "regular"}
        files = [
            {"path": f["path"], "uploadMode": mode[f["size"] >= LARGE_BYTES], "shouldIgnore": False}
            for f in asked["files"]
        ]
        return self._json({"files": files})

    def _batch(self, asked):
        def action(item):
            return {**item, "actions": {"upload": {"href": f"{self.url}/storage/{item['oid']}"}}}

        return self._json({"transfer": "basic", "objects": [action(item) for item in asked["objects"]]})

    def _commit(self, repository, lines):
        self.before_commit()
        if self.broken:
            return 500, JSON, json.dumps({"error": "out of order"}).encode()
        header, *operations = lines
        parent = header["value"].get("parentCommit")
        if parent and repository in self.commits and parent != self.commits[repository]:
            return CHANGED, {}, json.dumps({"error": "A commit has happened since"}).encode()
        changed = shutil.copytree(self.folders[repository], self.root / f"{repository}-{len(self.writes)}")
        for operation in operations:
            self._apply(changed, operation["key"], operation["value"])
        self.folders[repository] = changed
        commit = hashlib.sha1(json.dumps(lines).encode()).hexdigest()
        self.commits[repository] = commit
        return self._json({"commitUrl": f"{self.url}/{repository}/commit/{commit}", "commitOid": commit})

    def _apply(self, folder, kind, value):
        path = folder / value["path"]
        if kind == "deletedFile":
            return path.unlink()
        path.parent.mkdir(parents=True, exist_ok=True)
        content = base64.b64decode(value["content"]) if kind == "file" else self.uploaded[value["oid"]]
        return path.write_bytes(content)

    def _json(self, value):
        return OK, JSON, json.dumps(value).encode()

    def _forbidden(self):
        return FORBIDDEN, JSON, json.dumps({"error": "You don't have the rights"}).encode()
