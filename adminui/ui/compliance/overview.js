// The page Compliance > Overview: what waits for an officer, at a glance.

import { auditTable } from "./audit.js";
import { bytes, card, chart, count, figure, note, recordsLink, time } from "./parts.js";

const buildingColours = {
    compliant: "success",
    pending: "neutral",
    under_review: "warning",
    non_compliant: "danger",
};
const sessionColours = { active: "info", in_review: "warning", locked: "success" };
const defectColours = { critical_defect: "danger", non_critical_defect: "warning", non_conformance: "neutral" };

export function overviewPage() {
    app.store.title = "Compliance";

    const data = store({ loading: true, summary: null, failed: false });

    async function load() {
        data.loading = true;
        try {
            data.summary = await app.pb.send("/api/firemode/compliance/summary", { requestKey: "fmSummary" });
            data.failed = false;
        } catch (err) {
            if (!err?.isAbort) {
                data.failed = true;
                app.checkApiError(err);
            }
        }
        data.loading = false;
    }
    load();

    return t.div(
        { pbEvent: "pageCompliance", className: "page fm-compliance" },
        sidebar(),
        t.div(
            { className: "page-content full-height" },
            t.header(
                { className: "page-header" },
                t.nav(
                    { className: "breadcrumbs", ariaLabel: "Breadcrumbs" },
                    t.div({ className: "breadcrumb-item" }, "Compliance"),
                    t.div({ className: "breadcrumb-item" }, "Overview"),
                ),
                app.components.refreshButton({
                    className: "btn sm transparent secondary circle rotate-btn",
                    onclick: load,
                }),
                t.span(
                    { className: "fm-asof", role: "status" },
                    () => data.summary ? "As of " + time(data.summary.generated_at) : "",
                ),
            ),
            () => {
                if (data.summary) {
                    return content(data.summary);
                }
                if (data.failed) {
                    return t.div({ className: "fm-empty" }, "The overview could not be loaded. Refresh to try again.");
                }
                return t.div({ className: "block txt-center p-base" }, t.span({ className: "loader lg" }));
            },
            t.footer({ className: "page-footer" }, app.components.credits()),
        ),
    );
}

function sidebar() {
    const groups = {
        Compliance: [["Overview", "#/compliance", "ri-dashboard-line"]],
        Records: [
            ["Buildings", recordsLink("buildings"), "ri-building-line"],
            ["Test sessions", recordsLink("test_sessions"), "ri-survey-line"],
            ["Defects", recordsLink("defects"), "ri-error-warning-line"],
            ["Evidence", recordsLink("evidence"), "ri-camera-line"],
            ["Rules", recordsLink("as1851_rules"), "ri-book-2-line"],
            ["Audit log", recordsLink("audit_log"), "ri-file-list-3-line"],
        ],
    };
    return app.components.pageSidebar(
        {},
        t.nav(
            { className: "sidebar-content scrollable", ariaLabel: "Compliance" },
            ...Object.entries(groups).map(([name, links]) =>
                t.details(
                    { className: "nav-group", open: true },
                    t.summary({ tabIndex: -1, onfocusout: () => false, onclick: () => false, onkeyup: () => false }, name),
                    ...links.map(([label, href, icon]) =>
                        t.a(
                            {
                                href,
                                className: `nav-item fm-nav responsive-close ${href === "#/compliance" ? "active" : ""}`,
                                "html-aria-current": href === "#/compliance" ? "page" : undefined,
                            },
                            t.i({ className: icon, ariaHidden: true }),
                            t.span({ className: "txt" }, label),
                        )
                    ),
                )
            ),
        ),
        t.div(
            { className: "fm-whoami", hidden: () => !app.firemode.restricted() },
            t.i({ className: "ri-eye-line", ariaHidden: true }),
            t.span(null, () => app.firemode.roleName() + ", read only"),
        ),
    );
}

function content(summary) {
    const { buildings, test_sessions: sessions, conflicts, defects, evidence, mirror, audit } = summary;
    return t.div(
        { className: "fm-overview" },
        t.div(
            { className: "fm-cards" },
            card(
                "Buildings",
                figure(buildings.total, recordsLink("buildings", `deleted_at=""`)),
                buildings.total
                    ? chart("Buildings by compliance status", "buildings", "compliance_status", buildings, buildingColours, ` && deleted_at=""`)
                    : note("No buildings yet."),
            ),
            card(
                "Test sessions",
                figure(sessions.total, recordsLink("test_sessions")),
                sessions.total
                    ? chart("Test sessions by status", "test_sessions", "status", sessions, sessionColours)
                    : note("No visits recorded yet."),
            ),
            card(
                "Open defects",
                figure(defects.total, recordsLink("defects", `state!="closed"`)),
                defects.total
                    ? chart("Open defects by severity", "defects", "severity_class", defects, defectColours, ` && state!="closed"`)
                    : note("No open defects."),
                defects.overdue
                    ? note(`${count(defects.overdue, "notice")} overdue`, "danger", "ri-alarm-warning-line")
                    : null,
            ),
            card(
                "Unresolved conflicts",
                figure(conflicts.unresolved),
                conflicts.unresolved
                    ? note(`In ${count(conflicts.sessions, "test session")}: readings that contradict each other wait for a decision.`, "warning", "ri-git-merge-line")
                    : note("Nobody's reading contradicts another's.", "success", "ri-check-line"),
            ),
            card(
                "Evidence",
                figure(evidence.total, recordsLink("evidence")),
                evidence.total
                    ? note(`${bytes(evidence.bytes)} stored, ${evidence.legal_hold} on legal hold`)
                    : note("No photographs or documents yet."),
                evidence.flagged_for_review
                    ? note(`${evidence.flagged_for_review} flagged for review`, "warning", "ri-flag-line")
                    : null,
            ),
            mirrorCard(mirror),
        ),
        t.section(
            { className: "fm-panel", "html-aria-labelledby": "fm-audit-title" },
            t.header(
                null,
                t.h2({ id: "fm-audit-title" }, "Latest audit entries"),
                t.a({ href: recordsLink("audit_log") }, "Open the audit log"),
            ),
            auditTable(audit.latest),
        ),
    );
}

const mirrorStates = {
    off: ["Off", "neutral", "ri-database-2-line", "No PostgreSQL mirror is configured."],
    current: ["Up to date", "success", "ri-check-line", "Everything saved here is in PostgreSQL."],
    behind: ["Catching up", "warning", "ri-time-line", "Changes are on their way to PostgreSQL."],
    standby: ["On standby", "neutral", "ri-pause-circle-line", "Another server sends the changes."],
    failing: ["Interrupted", "danger", "ri-error-warning-line", "Changes cannot be sent now. Nothing is lost; it is tried again."],
};

function mirrorCard(mirror) {
    const [label, colour, icon, text] = mirrorStates[mirror.state] || [mirror.state, "neutral", "ri-question-line", ""];
    return card(
        "Reporting mirror",
        figure(label),
        note(text, colour, icon),
        mirror.backlog_entries
            ? note(`${count(mirror.backlog_entries, "change")} waiting, the oldest for ${Math.round(mirror.lag_seconds)} s.`)
            : null,
        mirror.quarantine_rows
            ? note(`${count(mirror.quarantine_rows, "record")} refused by PostgreSQL and set aside.`, "danger", "ri-error-warning-line")
            : null,
        mirror.last_applied ? note("Last sent " + time(mirror.last_applied)) : null,
    );
}
