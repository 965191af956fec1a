/* usage: vulkan_port PACK PROFILE.json   (reads *.spv beside itself)
 * The first Vulkan device with a compute queue; lavapipe makes the CPU one. */
#include <vulkan/vulkan.h>

#include "examples/port.h"

enum { kBuffers = 5, kPushBytes = 64 };

typedef struct {
  VkDevice device;
  VkPhysicalDevice physical;
  VkQueue queue;
  uint32_t family;
  VkDescriptorSetLayout set_layout;
  VkPipelineLayout layout;
  VkDescriptorPool descriptors;
  VkDescriptorSet set;
  VkCommandPool commands;
  VkPipeline sdpa, q4k_gemv;
} gpu;

typedef struct {
  VkBuffer buffer;
  VkDeviceMemory memory;
  void* at;
} storage;

/* Host-visible memory, mapped as long as it lives. */
static int make(const gpu* g, size_t size, const void* data, storage* s) {
  VkBufferCreateInfo info = {VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO};
  VkMemoryAllocateInfo memory = {VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO};
  VkMemoryRequirements need;
  VkPhysicalDeviceMemoryProperties types;
  const VkMemoryPropertyFlags want = VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT |
                                     VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
  uint32_t i = 0;
  memset(s, 0, sizeof *s);
  info.size = (size + 7) / 4 * 4; /* whole words, and never empty */
  info.usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT;
  if (vkCreateBuffer(g->device, &info, NULL, &s->buffer) != VK_SUCCESS)
    return 0;
  vkGetBufferMemoryRequirements(g->device, s->buffer, &need);
  vkGetPhysicalDeviceMemoryProperties(g->physical, &types);
  while (i < types.memoryTypeCount &&
         ((need.memoryTypeBits >> i & 1) == 0 ||
          (types.memoryTypes[i].propertyFlags & want) != want)) {
    ++i;
  }
  memory.allocationSize = need.size;
  memory.memoryTypeIndex = i;
  if (i == types.memoryTypeCount ||
      vkAllocateMemory(g->device, &memory, NULL, &s->memory) != VK_SUCCESS ||
      vkBindBufferMemory(g->device, s->buffer, s->memory, 0) != VK_SUCCESS ||
      vkMapMemory(g->device, s->memory, 0, VK_WHOLE_SIZE, 0, &s->at) !=
          VK_SUCCESS) {
    return 0;
  }
  if (data != NULL && size > 0) memcpy(s->at, data, size);
  return 1;
}

/* One dispatch over the buffers, waited for. */
static int run(const gpu* g, VkPipeline pipeline, const storage* s,
               const void* push, uint32_t push_size, const uint32_t groups[3]) {
  VkDescriptorBufferInfo info[kBuffers];
  VkWriteDescriptorSet write[kBuffers];
  VkCommandBufferAllocateInfo allocate = {
      VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO};
  VkCommandBufferBeginInfo begin = {
      VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
  VkSubmitInfo submit = {VK_STRUCTURE_TYPE_SUBMIT_INFO};
  VkCommandBuffer commands;
  int i, ok;
  memset(write, 0, sizeof write);
  for (i = 0; i < kBuffers; ++i) {
    info[i].buffer = s[i].buffer;
    info[i].offset = 0;
    info[i].range = VK_WHOLE_SIZE;
    write[i].sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET;
    write[i].dstSet = g->set;
    write[i].dstBinding = (uint32_t)i;
    write[i].descriptorCount = 1;
    write[i].descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
    write[i].pBufferInfo = &info[i];
  }
  vkUpdateDescriptorSets(g->device, kBuffers, write, 0, NULL);
  allocate.commandPool = g->commands;
  allocate.level = VK_COMMAND_BUFFER_LEVEL_PRIMARY;
  allocate.commandBufferCount = 1;
  if (vkAllocateCommandBuffers(g->device, &allocate, &commands) != VK_SUCCESS) {
    return 0;
  }
  vkBeginCommandBuffer(commands, &begin);
  vkCmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline);
  vkCmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_COMPUTE, g->layout,
                          0, 1, &g->set, 0, NULL);
  vkCmdPushConstants(commands, g->layout, VK_SHADER_STAGE_COMPUTE_BIT, 0,
                     push_size, push);
  vkCmdDispatch(commands, groups[0], groups[1], groups[2]);
  ok = vkEndCommandBuffer(commands) == VK_SUCCESS;
  submit.commandBufferCount = 1;
  submit.pCommandBuffers = &commands;
  ok = ok &&
       vkQueueSubmit(g->queue, 1, &submit, VK_NULL_HANDLE) == VK_SUCCESS &&
       vkQueueWaitIdle(g->queue) == VK_SUCCESS;
  vkFreeCommandBuffers(g->device, g->commands, 1, &commands);
  return ok;
}

static int make_all(const gpu* g, const void* const data[kBuffers],
                    const size_t size[kBuffers], storage s[kBuffers]) {
  int i, ok = 1;
  memset(s, 0, kBuffers * sizeof *s);
  for (i = 0; i < kBuffers && ok; ++i) ok = make(g, size[i], data[i], &s[i]);
  return ok;
}
/* The last buffer is the output. */
static int give_back(const gpu* g, storage s[kBuffers], float* out,
                     size_t bytes, int ok) {
  int i;
  if (ok) memcpy(out, s[kBuffers - 1].at, bytes);
  for (i = 0; i < kBuffers; ++i) {
    vkDestroyBuffer(g->device, s[i].buffer, NULL);
    vkFreeMemory(g->device, s[i].memory, NULL);
  }
  return ok;
}

static int sdpa(void* self, const sdpa_args* a, float* out) {
  const gpu* g = (const gpu*)self;
  const uint32_t chunk = 256;
  const size_t n = (size_t)a->n_tokens * a->n_heads * a->head_dim;
  const void* data[kBuffers] = {a->q, a->k, a->v, NULL, NULL};
  const size_t size[kBuffers] = {n * 4, a->k_bytes, a->v_bytes, n * 16, n * 4};
  const uint32_t groups[3] = {(a->head_dim + 31) / 32, a->n_heads, a->n_tokens};
  struct {
    uint32_t u[9];
    float scale;
    uint32_t first, last;
  } push = {{a->k_f16, a->v_f16, a->n_tokens, a->n_heads, a->n_kv_heads,
             a->head_dim, a->kv_len, a->kv_capacity, a->causal},
            a->scale,
            0,
            0};
  storage s[kBuffers];
  int ok = make_all(g, data, size, s);
  do { /* once over an empty cache, too */
    push.first = push.last;
    push.last = push.first + chunk;
    ok = ok && run(g, g->sdpa, s, &push, sizeof push, groups);
  } while (ok && push.last < a->kv_len);
  return give_back(g, s, out, n * 4, ok);
}

static int q4k_gemv(void* self, const q4k_args* a, float* out) {
  const gpu* g = (const gpu*)self;
  const size_t blocks = a->k / 256;
  const void* data[kBuffers] = {a->xq, a->xd, a->w, a->bias, NULL};
  const size_t size[kBuffers] = {(size_t)a->m * a->k, a->m * blocks * 4,
                                 a->n * blocks * 144, (size_t)a->n * 4,
                                 (size_t)a->m * a->n * 4};
  struct {
    uint32_t n, k;
    float scale;
  } push = {a->n, a->k, a->scale};
  const uint32_t groups[3] = {(a->n + 31) / 32, a->m, 1};
  storage s[kBuffers];
  int ok = make_all(g, data, size, s);
  if (a->m > 0 && a->n > 0) {
    ok = ok && run(g, g->q4k_gemv, s, &push, sizeof push, groups);
  }
  return give_back(g, s, out, size[4], ok);
}

static VkPipeline pipeline(const gpu* g, const char* program,
                           const char* name) {
  VkShaderModuleCreateInfo code = {VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO};
  VkComputePipelineCreateInfo info = {
      VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO};
  VkPipeline result = VK_NULL_HANDLE;
  VkShaderModule module;
  char file[64];
  size_t size = 0;
  void* data;
  snprintf(file, sizeof file, "%s.spv", name);
  data = port_file(program, file, &size);
  code.pCode = (const uint32_t*)data;
  code.codeSize = size;
  if (code.pCode == NULL ||
      vkCreateShaderModule(g->device, &code, NULL, &module) != VK_SUCCESS) {
    fprintf(stderr, "%s: no shader\n", file);
    free(data);
    return VK_NULL_HANDLE;
  }
  info.stage.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO;
  info.stage.stage = VK_SHADER_STAGE_COMPUTE_BIT;
  info.stage.module = module;
  info.stage.pName = "main";
  info.layout = g->layout;
  vkCreateComputePipelines(g->device, VK_NULL_HANDLE, 1, &info, NULL, &result);
  vkDestroyShaderModule(g->device, module, NULL);
  free(data);
  return result;
}

/* The first device that has a compute queue. */
static int open_device(gpu* g, VkInstance instance) {
  VkPhysicalDevice devices[8];
  VkPhysicalDeviceProperties properties;
  VkDeviceQueueCreateInfo queue = {VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO};
  VkDeviceCreateInfo info = {VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO};
  const float priority = 1;
  uint32_t n = 8, i, f;
  vkEnumeratePhysicalDevices(instance, &n, devices);
  for (i = 0; i < n; ++i) {
    VkQueueFamilyProperties families[16];
    uint32_t n_families = 16;
    vkGetPhysicalDeviceQueueFamilyProperties(devices[i], &n_families, families);
    for (f = 0; f < n_families; ++f) {
      if ((families[f].queueFlags & VK_QUEUE_COMPUTE_BIT) == 0) continue;
      g->physical = devices[i];
      g->family = f;
      queue.queueFamilyIndex = f;
      queue.queueCount = 1;
      queue.pQueuePriorities = &priority;
      info.queueCreateInfoCount = 1;
      info.pQueueCreateInfos = &queue;
      if (vkCreateDevice(devices[i], &info, NULL, &g->device) != VK_SUCCESS) {
        continue;
      }
      vkGetDeviceQueue(g->device, f, 0, &g->queue);
      vkGetPhysicalDeviceProperties(devices[i], &properties);
      printf("Vulkan on %s\n", properties.deviceName);
      return 1;
    }
  }
  return 0;
}

static int set_up(gpu* g, const char* program) {
  VkDescriptorSetLayoutBinding bindings[kBuffers];
  VkDescriptorSetLayoutCreateInfo set = {
      VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO};
  VkPipelineLayoutCreateInfo layout = {
      VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO};
  VkPushConstantRange push = {VK_SHADER_STAGE_COMPUTE_BIT, 0, kPushBytes};
  VkDescriptorPoolSize size = {VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, kBuffers};
  VkDescriptorPoolCreateInfo pool = {
      VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO};
  VkDescriptorSetAllocateInfo allocate = {
      VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO};
  VkCommandPoolCreateInfo commands = {
      VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO};
  uint32_t i;
  memset(bindings, 0, sizeof bindings);
  for (i = 0; i < kBuffers; ++i) {
    bindings[i].binding = i;
    bindings[i].descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
    bindings[i].descriptorCount = 1;
    bindings[i].stageFlags = VK_SHADER_STAGE_COMPUTE_BIT;
  }
  set.bindingCount = kBuffers;
  set.pBindings = bindings;
  layout.setLayoutCount = 1;
  layout.pSetLayouts = &g->set_layout;
  layout.pushConstantRangeCount = 1;
  layout.pPushConstantRanges = &push;
  pool.maxSets = 1;
  pool.poolSizeCount = 1;
  pool.pPoolSizes = &size;
  allocate.descriptorSetCount = 1;
  allocate.pSetLayouts = &g->set_layout;
  commands.queueFamilyIndex = g->family;
  if (vkCreateDescriptorSetLayout(g->device, &set, NULL, &g->set_layout) ||
      vkCreatePipelineLayout(g->device, &layout, NULL, &g->layout) ||
      vkCreateDescriptorPool(g->device, &pool, NULL, &g->descriptors) ||
      vkCreateCommandPool(g->device, &commands, NULL, &g->commands)) {
    return 0;
  }
  allocate.descriptorPool = g->descriptors;
  if (vkAllocateDescriptorSets(g->device, &allocate, &g->set)) return 0;
  g->sdpa = pipeline(g, program, "sdpa");
  g->q4k_gemv = pipeline(g, program, "q4k_gemv");
  return g->sdpa != VK_NULL_HANDLE && g->q4k_gemv != VK_NULL_HANDLE;
}

int main(int argc, char** argv) {
  VkApplicationInfo app = {VK_STRUCTURE_TYPE_APPLICATION_INFO};
  VkInstanceCreateInfo info = {VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO};
  VkInstance instance;
  gpu g;
  port p;
  int status;
  memset(&g, 0, sizeof g);
  app.apiVersion = VK_API_VERSION_1_1;
  info.pApplicationInfo = &app;
  if (vkCreateInstance(&info, NULL, &instance) != VK_SUCCESS ||
      !open_device(&g, instance)) {
    return fprintf(stderr, "no Vulkan device\n"), 77;
  }
  if (!set_up(&g, argv[0])) return fprintf(stderr, "no pipelines\n"), 2;
  p.self = &g;
  p.sdpa = sdpa;
  p.q4k_gemv = q4k_gemv;
  status = port_main(&p, argc, argv);
  vkDestroyPipeline(g.device, g.sdpa, NULL);
  vkDestroyPipeline(g.device, g.q4k_gemv, NULL);
  vkDestroyCommandPool(g.device, g.commands, NULL);
  vkDestroyDescriptorPool(g.device, g.descriptors, NULL);
  vkDestroyPipelineLayout(g.device, g.layout, NULL);
  vkDestroyDescriptorSetLayout(g.device, g.set_layout, NULL);
  vkDestroyDevice(g.device, NULL);
  vkDestroyInstance(instance, NULL);
  return status;
}
