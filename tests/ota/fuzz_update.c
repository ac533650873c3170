/* A fuzzer's target: the parser of update files. What it accepts is accepted again as it is, and its texts end within
 * the file. */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "ota_update.h"

void ota_copy(void *to, const void *from, uint32 size) /* as in rboot-api.c, which needs a port */
{
    memcpy(to, from, size);
}

bool ota_equals(const char *one, const char *other) /* likewise */
{
    return strcmp(one, other) == 0;
}

static bool parse(ota_update *update, const uint8_t *data, size_t size, char **text)
{
    *text = malloc(size ? size : 1); /* of just this size, for the sanitizer */
    memcpy(*text, data, size);
    return ota_update_parse(update, *text, (uint32)size, "1.2.9", 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ota_update update, again;
    char *text, *other;
    if (parse(&update, data, size, &text)) {
        if (!parse(&again, data, size, &other) || update.serial != again.serial || update.serial == 0 ||
            update.rollout > OTA_ROLLOUT_ALL || update.app < text || update.app + strlen(update.app) >= text + size ||
            update.device < text || update.device + strlen(update.device) >= text + size ||
            rboot_compare_versions(update.version, update.version) != RBOOT_SAME || update.has_rom != again.has_rom) {
            abort();
        }
        free(other);
    }
    free(text);
    return 0;
}
