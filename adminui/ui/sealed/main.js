// The field type "encrypted": text that the server stores as a sealed token.
// Lists show it locked; a value that the server withholds stays locked. Without
// this type PocketBase's records list fails, so it depends on nothing else.

registerSealedField();

function registerSealedField() {
    app.fieldTypes.encrypted = {
        icon: "ri-lock-2-line",
        label: "Sealed text",
        settings: (props) =>
            app.components.fieldSettings(props, {
                showHidden: true,
                content: () =>
                    t.div(
                        { className: "field" },
                        t.label(null, "Scope"),
                        t.input({ type: "text", disabled: true, value: () => props.field.scope || "" }),
                    ),
            }),
        input: sealedInput,
        view: sealedView,
        dummyData: () => "sealed text",
    };
    showSealedColumns();
    keepOutOfDrafts();
}

function sealedView(props) {
    // opened is what the server revealed of a value that it withheld at first
    const data = store({ shown: false, opened: undefined });

    return t.div({ className: "record-field-view field-type-encrypted" }, () => {
        const value = data.opened ?? props.record[props.field.name];
        if (value === undefined) {
            return app.firemode?.mayReveal() ? revealButton(props, data) : t.span(
                { className: "fm-sealed", title: "Sealed: your role does not receive this value." },
                t.i({ className: "ri-lock-2-line", ariaHidden: true }),
                t.span(null, "Sealed"),
            );
        }
        if (value === "") {
            return t.span({ className: "missing-value" });
        }
        return t.span(
            { className: "fm-sealed" },
            toggle(data, props.field.name),
            t.span({ className: "txt txt-ellipsis" }, () => data.shown ? value : "••••••••"),
        );
    });
}

function revealButton(props, data) {
    return t.button(
        {
            type: "button",
            className: "fm-sealed fm-reveal",
            ariaLabel: "Open the sealed " + props.field.name,
            onclick: (event) => {
                event.preventDefault();
                event.stopPropagation();
                askForReason(props, data);
            },
            onkeypress: (event) => event.stopPropagation(),
        },
        t.i({ className: "ri-lock-2-line", ariaHidden: true }),
        t.span(null, "Sealed"),
    );
}

// askForReason opens one value. The server writes the reason into the audit log
// before it answers.
function askForReason(props, data) {
    const form = store({ reason: "" });
    const id = "reason_" + app.utils.randomString();
    app.modals.confirm(
        t.div(
            { className: "fm-reason" },
            t.h6(null, "Open the sealed " + props.field.name + "?"),
            t.p({ className: "txt-hint" }, "Your reason, your name and the time go into the audit log."),
            t.div(
                { className: "field" },
                t.label({ htmlFor: id }, "Reason"),
                t.input({
                    id,
                    type: "text",
                    autofocus: true,
                    maxLength: 500,
                    value: () => form.reason,
                    oninput: (event) => (form.reason = event.target.value),
                }),
            ),
        ),
        async () => {
            try {
                const answer = await app.pb.send("/api/firemode/compliance/reveal", {
                    method: "POST",
                    requestKey: null,
                    body: {
                        collection: props.record.collectionName,
                        id: props.record.id,
                        field: props.field.name,
                        reason: form.reason,
                    },
                });
                data.shown = true;
                data.opened = answer.value;
            } catch (err) {
                app.checkApiError(err);
                return false; // the dialog stays, the reason is kept
            }
        },
        null,
        { yesButton: "Open and record", noButton: "Cancel" },
    );
}

// sealedInput edits the plain text behind dots until it is asked for.
function sealedInput(props) {
    const data = store({ shown: false });
    const id = "sealed_" + app.utils.randomString();

    return t.div(
        { className: "record-field-input field-type-encrypted" },
        t.div(
            { className: "fields" },
            t.div(
                { className: "field" },
                t.label(
                    { htmlFor: id },
                    t.i({ className: "ri-lock-2-line", ariaHidden: true }),
                    t.span({ className: "txt" }, () => props.field.name),
                ),
                t.input({
                    id,
                    type: () => data.shown ? "text" : "password",
                    autocomplete: "new-password", // keeps password managers from filling it
                    spellcheck: false, // some browsers send text away to check it
                    name: () => props.field.name,
                    required: () => props.field.required,
                    value: () => props.record[props.field.name] || "",
                    oninput: (event) => (props.record[props.field.name] = event.target.value),
                }),
            ),
            t.div({ className: "field addon" }, toggle(data, props.field.name)),
        ),
        () => props.field.help ? t.div({ className: "field-help" }, props.field.help) : null,
    );
}

function toggle(data, name) {
    return t.button(
        {
            type: "button",
            className: "fm-sealed-toggle",
            "html-aria-pressed": () => String(data.shown),
            ariaLabel: () => (data.shown ? "Hide " : "Show ") + name,
            // the row behind a list's cell opens on click and on Enter
            onclick: (event) => {
                event.preventDefault();
                event.stopPropagation();
                data.shown = !data.shown;
            },
            onkeypress: (event) => event.stopPropagation(),
        },
        t.i({ className: () => data.shown ? "ri-lock-unlock-line" : "ri-lock-2-line", ariaHidden: true }),
    );
}

// Hidden fields are hidden columns by default. A sealed one is shown, because
// that something is there, locked, is part of the record.
function showSealedColumns() {
    watch(
        () => app.store.collections.map((collection) => collection.id).join(),
        () => {
            for (const collection of app.store.collections) {
                const key = app.consts.COLUMNS_STORAGE_PREFIX + collection.id;
                const columns = app.utils.getLocalHistory(key, {});
                let changed = false;
                for (const field of collection.fields) {
                    if (field.type === "encrypted" && columns[field.id] === undefined) {
                        columns[field.id] = true;
                        changed = true;
                    }
                }
                if (changed) {
                    app.utils.saveLocalHistory(key, columns);
                }
            }
        },
    );
}

// The record form keeps unsaved work in the browser's storage as plain text.
// Sealed values are left out: they must not lie on an office computer's disk.
function keepOutOfDrafts() {
    const setItem = Storage.prototype.setItem;
    Storage.prototype.setItem = function(key, value) {
        return setItem.call(this, key, key.startsWith("draft_") ? withoutSealed(key, value) : value);
    };
}

function withoutSealed(key, value) {
    const collection = app.store.collections.find((c) => key.startsWith("draft_" + c.id + "_"));
    const names = (collection?.fields || []).filter((f) => f.type === "encrypted").map((f) => f.name);
    if (names.length === 0) {
        return value;
    }
    try {
        const draft = JSON.parse(value);
        for (const name of names) {
            delete draft[name];
        }
        return JSON.stringify(draft);
    } catch {
        return "{}";
    }
}
