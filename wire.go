package main

import (
	"context"
	"fmt"
	"net/http"
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
	launch  launch
	restart restart
	server  *http.Server // set while starting; nil when nothing is served
}

// wire builds the parts, binds them to pb and adds the commands.
func wire(pb *pocketbase.PocketBase, cfg Config) (*parts, error) {
	collections.UseSealer(cfg.FernetKeys)
	p := &parts{
		cfg:     cfg,
		hasher:  hooks.NewHasher(cfg.Argon2),
		tokens:  hooks.NewTokens(hooks.TokensConfig{Secret: cfg.JWTSecret, TTL: cfg.JWTLife}),
		merge:   merge.New(pb, merge.Config{}),
		metrics: api.NewMetrics(),
	}
	if cfg.DatabaseURL != "" {
		worker, err := pgsync.New(pb, pgsync.Config{DSN: cfg.DatabaseURL, LogMaxBytes: cfg.MirrorLogMax})
		if err != nil {
			return nil, fmt.Errorf("DATABASE_URL: %w", err)
		}
		p.mirror = worker
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
		Mirror: p.mirror.Status, Actor: hooks.ActorOf,
	})
	p.bindServe(pb)
	p.bindTerminate(pb)

	deps := cli.Deps{
		Version: version, Development: cfg.Development(), HTTP: cfg.HTTP, Diag: cfg.Diag, MirrorDSN: cfg.DatabaseURL,
		Tokens: p.tokens, Keys: cfg.FernetKeys,
		Merge: func(app core.App) *merge.Service { return merge.New(app, merge.Config{}) },
	}
	deps.Serve = func(ctx context.Context, httpAddr, diagAddr string) error {
		return p.serve(ctx, pb, deps, httpAddr, diagAddr)
	}
	pb.RootCmd.AddCommand(cli.Commands(pb, deps)...)
	return p, nil
}

// bindServe mounts the routes before the router is built and starts the
// workers once requests can come.
func (p *parts) bindServe(app core.App) {
	app.OnServe().Bind(&hook.Handler[*core.ServeEvent]{
		Id: "firemode.serve",
		Func: func(e *core.ServeEvent) error {
			p.server = e.Server
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
			if p.mirror == nil {
				return nil
			}
			if err := p.mirror.Start(context.Background()); err != nil {
				return fmt.Errorf("start the mirror: %w", err)
			}
			return nil
		},
	})
}

func (p *parts) api() api.Deps {
	return api.Deps{
		Hasher: p.hasher, Tokens: p.tokens, Merge: p.merge, Version: version, Metrics: p.metrics,
		MirrorStatus: p.mirror.Status, WritesPerSecond: float64(p.cfg.WritesPerSecond),
	}
}

// bindTerminate ends a server in the order of its work, while the database is
// open: requests first, then the merge service, which answers what it has
// queued, then the mirror, which finishes its batch. It is bound before anything
// starts, since a hook that is bound while its event runs is not called.
func (p *parts) bindTerminate(app core.App) {
	app.OnTerminate().Bind(&hook.Handler[*core.TerminateEvent]{
		Id: "firemode.stop", Priority: -10000, // before PocketBase's own at -9999
		Func: func(e *core.TerminateEvent) error {
			if e.IsRestart {
				defer p.restart.begin()() // comes back only if the new process could not be started
			}
			p.launch.wait()
			if p.server != nil {
				drain(e.App, p.server)
			}
			p.merge.Stop()
			if p.mirror != nil {
				p.mirror.Stop()
			}
			return e.Next()
		},
	})
}

// words are the arguments that are neither flags nor values of global flags.
func words(args []string) (out []string) {
	for i := 0; i < len(args); i++ {
		switch {
		case slices.Contains([]string{"--dir", "--encryptionEnv", "--queryTimeout"}, args[i]):
			i++ // its value
		case !strings.HasPrefix(args[i], "-"):
			out = append(out, args[i])
		}
	}
	return out
}

// subcommand is the first word of the command line, for the audit log.
func subcommand(args []string) string {
	if w := words(args); len(w) > 0 {
		return w[0]
	}
	return ""
}

// needsSecrets says whether the command line works on data, so that asking for
// help or mistyping leaves no trace on the disk.
func needsSecrets(args []string) bool {
	for _, informs := range []string{"-h", "--help", "-v", "--version"} {
		if slices.Contains(args, informs) {
			return false
		}
	}
	w := words(args)
	if len(w) > 1 && (w[0] == "keys" && w[1] == "generate" || w[0] == "mirror" && w[1] == "check-proof") {
		return false
	}
	return len(w) > 0 && slices.Contains([]string{"serve", "migrate", "seed", "users", "token", "sessions", "audit", "mirror", "keys", "superuser"}, w[0])
}
