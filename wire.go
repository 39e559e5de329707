package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"firemode/adminui"
	"firemode/api"
	"firemode/audit"
	"firemode/cli"
	"firemode/collections"
	"firemode/hooks"
	"firemode/merge"
	pbpublic "firemode/pb_public"
	"firemode/pgsync"

	"github.com/pocketbase/pocketbase"
	"github.com/pocketbase/pocketbase/core"
	"github.com/pocketbase/pocketbase/tools/hook"
)

// parts are the pieces of one process that outlive a request.
type parts struct {
	cfg     Config
	hasher  *hooks.Hasher
	tokens  *hooks.Tokens
	merge   *merge.Service
	mirror  *pgsync.Worker // nil when the mirror is off
	metrics *api.Metrics
}

// wire builds the parts, binds them to pb and adds the commands.
func wire(pb *pocketbase.PocketBase, cfg Config) {
	collections.UseSealer(cfg.FernetKeys)
	p := &parts{
		cfg:     cfg,
		hasher:  hooks.NewHasher(cfg.Argon2),
		tokens:  hooks.NewTokens(hooks.TokensConfig{Secret: cfg.JWTSecret, TTL: cfg.JWTLife}),
		merge:   merge.New(pb, merge.Config{}),
		metrics: api.NewMetrics(),
	}
	audit.Install(pb, audit.Config{
		Version: version,
		System:  audit.Actor{Role: audit.SystemRole, UserAgent: "firemode " + subcommand(os.Args[1:])},
	})
	hooks.Register(pb, hooks.Deps{Hasher: p.hasher, Tokens: p.tokens})
	merge.Register(pb)
	pgsync.Register(pb, pgsync.Mirrored())
	adminui.Register(pb, adminui.Config{
		Development: cfg.Development(), AllowSchemaEdits: cfg.AllowSchemaEdit,
		Mirror: func() pgsync.Status { return p.mirror.Status() }, Actor: hooks.ActorOf,
	})
	p.bindServe(pb)
	p.bindTerminate(pb)

	deps := cli.Deps{
		Version: version, Development: cfg.Development(), HTTP: cfg.HTTP, Diag: cfg.Diag, MirrorDSN: cfg.DatabaseURL,
		Tokens: p.tokens, Keys: cfg.FernetKeys,
		Merge: func(app core.App) *merge.Service { return merge.New(app, merge.Config{}) },
	}
	deps.Serve = func(_ context.Context, httpAddr, diagAddr string) error {
		return p.serve(pb, deps, httpAddr, diagAddr)
	}
	pb.RootCmd.AddCommand(cli.Commands(pb, deps)...)
}

// bindServe mounts the routes before the router is built and starts the
// workers once requests can come.
func (p *parts) bindServe(app core.App) {
	app.OnServe().Bind(&hook.Handler[*core.ServeEvent]{
		Id: "firemode.serve",
		Func: func(e *core.ServeEvent) error {
			if err := p.merge.Start(context.Background()); err != nil {
				return fmt.Errorf("start the merge service: %w", err)
			}
			if err := api.Bind(e, p.api()); err != nil {
				return fmt.Errorf("bind the API: %w", err)
			}
			if err := pbpublic.Bind(e); err != nil {
				return fmt.Errorf("bind the static files: %w", err)
			}
			if err := e.Next(); err != nil {
				return err
			}
			return p.startMirror(e.App)
		},
	})
}

func (p *parts) startMirror(app core.App) error {
	if p.cfg.DatabaseURL == "" {
		return nil
	}
	worker, err := pgsync.New(app, pgsync.Config{DSN: p.cfg.DatabaseURL})
	if err != nil {
		return fmt.Errorf("start the mirror: %w", err)
	}
	p.mirror = worker
	return worker.Start(context.Background())
}

func (p *parts) api() api.Deps {
	return api.Deps{
		Hasher: p.hasher, Tokens: p.tokens, Merge: p.merge, Version: version, Metrics: p.metrics,
		MirrorStatus: func() pgsync.Status { return p.mirror.Status() }, // the worker starts later
	}
}

// bindTerminate stops the workers while the database is still open: the merge
// service answers what it has queued, the mirror finishes its batch.
func (p *parts) bindTerminate(app core.App) {
	app.OnTerminate().Bind(&hook.Handler[*core.TerminateEvent]{
		Id: "firemode.stop",
		Func: func(e *core.TerminateEvent) error {
			p.merge.Stop()
			if p.mirror != nil {
				p.mirror.Stop()
			}
			return e.Next()
		},
	})
}

// subcommand is the first word of the command line, for the audit log.
func subcommand(args []string) string {
	for _, a := range args {
		if !strings.HasPrefix(a, "-") {
			return a
		}
	}
	return ""
}

// needsSecrets says whether the command line works on data, so that asking for
// help or mistyping leaves no trace on the disk.
func needsSecrets(args []string) bool {
	for _, informs := range []string{"-h", "--help", "-v", "--version", "generate"} {
		if slices.Contains(args, informs) {
			return false
		}
	}
	return slices.Contains([]string{"serve", "migrate", "seed", "token", "mirror", "keys", "superuser"}, subcommand(args))
}
