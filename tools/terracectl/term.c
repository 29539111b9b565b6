/* SPDX-License-Identifier: BSD-2-Clause */
/* What the terminal is and can do. */
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "tools/terracectl/terracectl.h"

static const char *const codes[] = {
    [STYLE_BOLD] = "\033[1m",
    [STYLE_DIM] = "\033[2m",
    [STYLE_OK] = "\033[32m",
    [STYLE_WARN] = "\033[33m",
    [STYLE_BAD] = "\033[1;31m",
};

bool
term_colour(void)
{
	const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

	return isatty(STDOUT_FILENO) && (no == NULL || no[0] == '\0') && term != NULL &&
	       strcmp(term, "dumb") != 0;
}

bool
term_asks(void)
{
	return isatty(STDIN_FILENO) && isatty(STDERR_FILENO);
}

static unsigned
window(bool rows, unsigned otherwise)
{
	struct winsize w;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) < 0)
		return otherwise;
	unsigned n = rows ? w.ws_row : w.ws_col;
	return n > 0 ? n : otherwise;
}

unsigned
term_columns(void)
{
	return window(false, 80);
}

unsigned
term_rows(void)
{
	return window(true, 24);
}

void
term_begin(enum term_style s)
{
	if (s != STYLE_NONE && term_colour())
		fputs(codes[s], stdout);
}

void
term_end(enum term_style s)
{
	if (s != STYLE_NONE && term_colour())
		fputs("\033[0m", stdout);
}

bool
term_confirm(const char *question)
{
	char line[16];

	if (!term_asks())
		return false;
	fflush(stdout);
	fprintf(stderr, "%s [y/N] ", question);
	fflush(stderr);
	if (fgets(line, sizeof line, stdin) == NULL)
		return false;
	return line[0] == 'y' || line[0] == 'Y';
}

/* Echo comes back whatever ends the program: a signal that would end it waits meanwhile. */
char *
term_secret(const char *prompt)
{
	struct termios was, blind;
	char *line = NULL;
	size_t cap = 0;

	if (!term_asks() || tcgetattr(STDIN_FILENO, &was) < 0)
		return NULL;
	blind = was;
	blind.c_lflag &= ~(tcflag_t)(ECHO | ISIG);
	if (tcsetattr(STDIN_FILENO, TCSAFLUSH, &blind) < 0)
		return NULL;
	fputs(prompt, stderr); /* not before nobody can see what is typed */
	fflush(stderr);
	ssize_t n = getline(&line, &cap, stdin);
	(void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &was);
	fputc('\n', stderr);
	/* Without ISIG ^C arrives as a character: it means what it always means. */
	if (n <= 0 || memchr(line, '\003', (size_t)n) != NULL) {
		free(line);
		return NULL;
	}
	line[strcspn(line, "\r\n")] = '\0';
	return line;
}
