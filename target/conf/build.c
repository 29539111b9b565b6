/* Tree → objects. */
#include "conf/conf_priv.h"

#include <errno.h>

int
conf_build(const struct conf_tree *t, struct conf_errors *errors, struct conf **ret)
{
	(void)ret;
	conf_errors_add(errors, &conf_tree_root(t)->pos,
	    "this build reads no configuration files: use the command line's options");
	return -EINVAL;
}
