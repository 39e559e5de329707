// What each role sees of the UI. The server refuses what is hidden here; hiding
// only keeps people from walking into the refusal. What the other extensions
// need to know about the role is in app.firemode.

const roleNames = { officer: "Compliance officer", auditor: "Auditor" };

// restricted tells whether the signed-in superuser is held by the server's guard.
function restricted() {
    const role = app.store.superuser?.role || "";
    return role !== "" && role !== "admin";
}

function roleName() {
    return roleNames[app.store.superuser?.role] || "Administrator";
}

// mayReveal tells whether this role may ask for a value that the server withheld.
function mayReveal() {
    return app.store.superuser?.role === "officer";
}

app.firemode = { restricted, roleName, mayReveal };

// pages that a restricted role may open; everything else leads to the overview.
const restrictedPages = ["#/compliance", "#/collections", "#/login", "#/request-password-reset", "#/auth/"];

const complianceLink = { href: "#/compliance", icon: "ri-shield-check-line", label: "Compliance" };

applyRoles();
applyConfig();

function applyRoles() {
    const allLinks = [complianceLink, ...app.store.headerLinks];
    watch(
        () => restricted(),
        (held) => {
            document.documentElement.classList.toggle("fm-restricted", held);
            app.store.headerLinks = held
                ? allLinks.filter((link) => restrictedPages.includes(link.href))
                : allLinks.slice();
            keepInside();
        },
    );

    // Capture runs before PocketBase's router, so the page never loads its data.
    window.addEventListener("hashchange", keepInside, { capture: true });

    // A restricted role reads records; the edit form would only fail on saving.
    const openEditor = app.modals.openRecordUpsert;
    app.modals.openRecordUpsert = function(collection, record, settings) {
        if (!restricted()) {
            return openEditor.call(app.modals, collection, record, settings);
        }
        if (record?.id) {
            const preview = { collectionId: collection?.id, collectionName: collection?.name, ...record };
            return app.modals.openRecordPreview(preview, settings || {});
        }
    };

    document.addEventListener("mount:loggedUserDropdown", (event) => {
        event.detail.prepend(t.div(
            { className: "fm-role" },
            t.i({ className: "ri-shield-user-line", ariaHidden: true }),
            t.span(null, () => restricted() ? roleName() + " (read only)" : roleName()),
        ));
    });
}

function keepInside() {
    const hash = window.location.hash;
    if (!restricted() || hash === "" || hash === "#/" || restrictedPages.some((page) => hash.startsWith(page))) {
        return;
    }
    window.location.replace("#/compliance");
}

// applyConfig hides what this server allows nobody. When the server cannot be
// asked, everything optional is hidden.
async function applyConfig() {
    let config = {};
    try {
        const response = await fetch(app.pb.buildURL("/_/extensions/firemode/config.json"));
        config = response.ok ? await response.json() : {};
    } catch (err) {
        console.warn("FireMode: failed to load the configuration:", err);
    }
    if (!config.sqlConsole) {
        app.store.settingsNavGroups.Debug = [];
    }
    if (!config.schemaEdits) {
        document.documentElement.classList.add("fm-schema-locked");
        app.store.settingsNavGroups.Sync = app.store.settingsNavGroups.Sync
            .filter((link) => link.href !== "#/settings/import-collections");
    }
}
