"""Lists the public items of a crate from rustdoc's JSON: one line an item, its kind and its path, sorted."""

import json
import sys


class Listing:
    def __init__(self, crate):
        self.index = crate["index"]
        self.lines = set()
        self.seen = set()
        self.walk(str(crate["root"]), [])

    def item(self, key):
        return self.index.get(str(key))

    def walk(self, key, path):
        item = self.item(key)
        if item is None or (key, tuple(path)) in self.seen:
            return
        self.seen.add((key, tuple(path)))
        kind, inner = next(iter(item["inner"].items()))
        if kind == "use":
            # A re-export: the named item is listed here too.
            target = self.item(inner["id"]) if inner["id"] is not None else None
            if target is None:
                self.add("use", [*path, inner["name"]])
            elif inner["is_glob"]:
                self.children(target, path)
            else:
                self.show(target, [*path, inner["name"]])
            return
        self.show(item, [*path, item["name"]] if item["name"] else path)

    def show(self, item, path):
        # The C interface has its own list.
        if "hidden" in str(item["attrs"]) or path[1:2] == ["capi"]:
            return
        kind, inner = next(iter(item["inner"].items()))
        open_ended = " (non_exhaustive)" if "non_exhaustive" in str(item["attrs"]) else ""
        self.add(kind + open_ended, path)
        self.children(item, path)

    def children(self, item, path):
        kind, inner = next(iter(item["inner"].items()))
        if kind == "module":
            for child in inner["items"]:
                self.walk(child, path)
        elif kind == "struct":
            plain = inner["kind"]["plain"]["fields"] if "plain" in inner["kind"] else []
            self.members(plain, path)
            self.implementations(inner["impls"], path)
        elif kind == "enum":
            for child in inner["variants"]:
                self.walk(child, path)
            self.implementations(inner["impls"], path)
        elif kind == "trait":
            for child in inner["items"]:
                member = self.item(child)
                self.add("trait item", [*path, member["name"]])

    def members(self, keys, path):
        for key in keys:
            member = self.item(key)
            if member is not None and member["visibility"] == "public":
                self.add("field", [*path, member["name"]])

    def implementations(self, keys, path):
        for key in keys:
            block = self.item(key)
            if block is None:
                continue
            inner = block["inner"]["impl"]
            if inner["trait"] is None:
                for child in inner["items"]:
                    member = self.item(child)
                    if member is not None and member["visibility"] == "public":
                        self.add("fn", [*path, member["name"]])
            elif not inner["is_synthetic"] and inner["blanket_impl"] is None:
                self.add("impl " + inner["trait"]["path"].split("::")[-1], path)

    def add(self, kind, path):
        self.lines.add(f"{'::'.join(path)}  {kind}")


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        crate = json.load(file)
    print("\n".join(sorted(Listing(crate).lines)))


main()
